/** The `parseFraming` specs that a shell offers for --framing; many more are accepted. */
export const FRAMING_SPECS = [
  'raw',
  'u8',
  'u16be',
  'u16le',
  'u32be',
  'u32le',
  'i32be',
  'i32le',
  'u64be',
  'varint',
  'lines',
  'crlf',
  'decimal',
  'octet-counting',
  'netstring',
  'content-length',
  'slip',
  'cobs',
  'tpkt',
  'fcgi',
  'giop',
  'asn1-ber',
  'oncrpc',
  'grpc',
  'kafka',
  'postgres',
] as const;

/** The specs in the help of --framing. */
export const SPECS = 'u32be, varint, lines, … followed by options such as offset=, adjust=, preface=';
