// An echo of u32be frames: a goroutine a connection, buffered, flushed when nothing more is buffered to read.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

func serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 65536), bufio.NewWriterSize(conn, 65536)
	frame := make([]byte, 4, 4096)
	for {
		frame = frame[:4]
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(frame)) + 4
		if size > 1<<20 {
			return
		}
		if size > cap(frame) {
			frame = append(make([]byte, 0, size), frame...)
		}
		frame = frame[:size]
		if _, err := io.ReadFull(in, frame[4:]); err != nil {
			return
		}
		out.Write(frame)
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(conn)
	}
}
