/* Load for the server benchmark, one thread, loopback only.
 *
 *   load echo    PORT CONNECTIONS OUTSTANDING PAYLOAD WARM_MS RUN_MS
 *   load connect PORT COUNT AT_ONCE
 *   load hold    PORT COUNT
 *   load stream  PORT PAYLOAD WARM_MS RUN_MS
 *
 * echo: every connection keeps OUTSTANDING frames (u32be length, payload) in flight; every returned byte is
 * checked. connect: opens a connection, waits for one echoed frame, closes, COUNT times.
 * hold: opens COUNT connections, one echoed frame each, then holds them until its stdin ends.
 * stream: one connection, frames one way as fast as the server takes them; then our end, and a check of the server's
 * count of frames.
 * Each prints one JSON line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 18, EVENTS = 512 };

struct peer {
    int fd;
    uint32_t number;
    uint64_t sent, verified; /* bytes */
    uint64_t limit;          /* bytes that may be on the way when all OUTSTANDING are */
};

static uint8_t *pattern; /* one frame; its payload's bytes follow from place and frame number */
static int frame_size, epoll_fd;
static struct sockaddr_in server = { .sin_family = AF_INET };

static double clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void wrong(const struct peer *peer, const char *what)
{
    fprintf(stderr, "load: connection %u: %s\n", peer->number, what);
    exit(1);
}

static void fill(uint8_t *frame, uint32_t number, uint64_t sequence)
{
    memcpy(frame, pattern, frame_size);
    if (frame_size >= 16) {
        memcpy(frame + 4, &number, 4);
        memcpy(frame + 8, &sequence, 8);
    }
}

static int dial(int blocking)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&server, sizeof server)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!blocking) fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Sends as many whole frames as the window allows. A frame cut by a full socket buffer is finished later. */
static void send_more(struct peer *peer, uint8_t *scratch)
{
    for (;;) {
        uint64_t room = peer->verified / frame_size * frame_size + peer->limit - peer->sent;
        if (room == 0) return;
        int skip = peer->sent % frame_size, filled = 0;
        uint64_t sequence = peer->sent / frame_size;
        while (filled < (int)room + skip && filled < READ_SIZE - frame_size) {
            fill(scratch + filled, peer->number, sequence++);
            filled += frame_size;
        }
        uint64_t size = filled - skip < (int64_t)room ? (uint64_t)(filled - skip) : room;
        ssize_t n = send(peer->fd, scratch + skip, size, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) return;
            fail("send");
        }
        peer->sent += n;
        if ((uint64_t)n < size) return;
    }
}

static uint8_t expected_frame[1 << 17];

/* Reads all there is and compares it; returns how many frames became whole. */
static uint64_t receive(struct peer *peer, uint8_t *buffer)
{
    uint64_t before = peer->verified / frame_size;
    for (;;) {
        ssize_t n = recv(peer->fd, buffer, READ_SIZE, 0);
        if (n < 0) {
            if (errno == EAGAIN) break;
            fail("recv");
        }
        if (n == 0) wrong(peer, "closed by the server");
        for (ssize_t at = 0; at < n;) {
            int place = peer->verified % frame_size;
            if (peer->verified >= peer->sent) wrong(peer, "more bytes than were sent");
            fill(expected_frame, peer->number, peer->verified / frame_size);
            int part = frame_size - place < n - at ? frame_size - place : (int)(n - at);
            if (memcmp(buffer + at, expected_frame + place, part)) wrong(peer, "other bytes than were sent");
            peer->verified += part;
            at += part;
        }
        if (n < READ_SIZE) break;
    }
    return peer->verified / frame_size - before;
}

static int echo(int count, int outstanding, double warm, double run)
{
    struct peer *peers = calloc(count, sizeof *peers);
    uint8_t *buffer = malloc(READ_SIZE);
    for (int i = 0; i < count; i++) {
        peers[i] = (struct peer){ .fd = dial(0), .number = i, .limit = (uint64_t)outstanding * frame_size };
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &peers[i] };
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peers[i].fd, &event);
    }
    double start = clock_us() + warm * 1e3, end = start + run * 1e3, now;
    uint64_t frames = 0, total = 0;
    for (int i = 0; i < count; i++) send_more(&peers[i], buffer);
    while ((now = clock_us()) < end) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, 2000);
        if (ready == 0) { fprintf(stderr, "load: nothing came back for 2 s\n"); return 1; }
        for (int i = 0; i < ready; i++) {
            struct peer *peer = events[i].data.ptr;
            uint64_t got = receive(peer, buffer);
            total += got;
            if (now >= start) frames += got;
            send_more(peer, buffer);
        }
    }
    double seconds = (now - start) / 1e6;
    printf("{\"frames\":%llu,\"total\":%llu,\"seconds\":%.4f,\"rate\":%.0f}\n", (unsigned long long)frames,
           (unsigned long long)total, seconds, frames / seconds);
    return 0;
}

static void one_frame(struct peer *peer)
{
    uint8_t frame[1 << 12];
    fill(frame, peer->number, 0);
    if (send(peer->fd, frame, frame_size, MSG_NOSIGNAL) != frame_size) fail("send");
    peer->sent = frame_size;
    while (peer->verified < (uint64_t)frame_size) {
        ssize_t n = recv(peer->fd, frame, frame_size - peer->verified, 0);
        if (n <= 0) wrong(peer, "no echo");
        peer->verified += n;
    }
}

static int connects(int count, int at_once)
{
    struct peer *peers = calloc(at_once, sizeof *peers);
    double start = clock_us();
    for (int done = 0; done < count; done += at_once) {
        for (int i = 0; i < at_once; i++) peers[i] = (struct peer){ .fd = dial(1), .number = done + i };
        for (int i = 0; i < at_once; i++) one_frame(&peers[i]);
        for (int i = 0; i < at_once; i++) close(peers[i].fd);
    }
    double seconds = (clock_us() - start) / 1e6;
    printf("{\"connects\":%d,\"seconds\":%.4f,\"rate\":%.0f}\n", count, seconds, count / seconds);
    return 0;
}

static int hold(int count)
{
    double start = clock_us();
    struct peer *peers = calloc(count, sizeof *peers);
    for (int i = 0; i < count; i++) {
        peers[i] = (struct peer){ .fd = dial(1), .number = i };
        one_frame(&peers[i]);
    }
    printf("{\"held\":%d,\"seconds\":%.4f}\n", count, (clock_us() - start) / 1e6);
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return 0;
}

static int stream(double warm, double run)
{
    int fd = dial(1), unit = READ_SIZE / frame_size ? READ_SIZE / frame_size * frame_size : frame_size;
    uint8_t *bytes = malloc(unit);
    for (int at = 0; at < unit; at += frame_size) fill(bytes + at, 0, 0);
    double start = clock_us() + warm * 1e3, end = start + run * 1e3, now;
    uint64_t frames = 0, total = 0;
    while ((now = clock_us()) < end) {
        for (int at = 0; at < unit;) {
            ssize_t n = send(fd, bytes + at, unit - at, MSG_NOSIGNAL);
            if (n <= 0) fail("send");
            at += n;
        }
        total += unit / frame_size;
        if (now >= start) frames += unit / frame_size;
    }
    shutdown(fd, SHUT_WR);
    char answer[64];
    ssize_t n = recv(fd, answer, sizeof answer - 1, MSG_WAITALL);
    double seconds = (clock_us() - start) / 1e6;
    answer[n > 0 ? n : 0] = 0;
    if (strtoull(answer, 0, 10) != total) {
        fprintf(stderr, "load: %llu frames sent, the server received \"%s\"\n", (unsigned long long)total, answer);
        return 1;
    }
    printf("{\"frames\":%llu,\"total\":%llu,\"seconds\":%.4f,\"rate\":%.0f}\n", (unsigned long long)frames,
           (unsigned long long)total, seconds, frames / seconds);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    server.sin_port = htons(atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int streams = !strcmp(argv[1], "stream"), payload = streams ? atoi(argv[3]) : argc > 5 ? atoi(argv[5]) : 64;
    frame_size = payload + 4;
    if (payload < 0 || frame_size > (int)sizeof expected_frame) return 2;
    pattern = malloc(frame_size);
    uint32_t length = htonl(payload);
    memcpy(pattern, &length, 4);
    for (int i = 4; i < frame_size; i++) pattern[i] = (uint8_t)(i * 31);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!strcmp(argv[1], "echo") && argc > 7) return echo(atoi(argv[3]), atoi(argv[4]), atof(argv[6]), atof(argv[7]));
    if (!strcmp(argv[1], "connect") && argc > 4) return connects(atoi(argv[3]), atoi(argv[4]));
    if (streams && argc > 5) return stream(atof(argv[4]), atof(argv[5]));
    if (!strcmp(argv[1], "hold")) return hold(atoi(argv[3]));
    return 2;
}
