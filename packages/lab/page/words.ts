/** All texts of the page, in both languages. */

const WORDS = {
  skip: ['Skip to the content', '跳到内容'],
  tagline: ['What was really on the wire', '线路上究竟发生了什么'],
  language: ['Language', '语言'],
  theme: ['Colours', '配色'],
  themeAuto: ['as the system', '跟随系统'],
  themeLight: ['light', '浅色'],
  themeDark: ['dark', '深色'],
  views: ['Views', '视图'],
  workbench: ['Workbench', '工作台'],
  phenomena: ['Phenomena', '现象'],
  inspect: ['Inspect', '观察'],
  chaos: ['Chaos', '故障'],
  connected: ['connected', '已连接'],
  disconnected: [
    'wirelab page has ended: start it again and open the new address',
    'wirelab page 已结束：请重新启动并打开新地址',
  ],
  // workbench
  benchIntro: [
    'One sender, one receiver, real sockets on this machine. Change something: it runs again.',
    '一个发送方，一个接收方，都是本机上真实的套接字。改动任何一项都会重新运行。',
  ],
  presets: ['Begin with', '从这里开始'],
  presetSticky: ['Three sends, one read', '三次发送，一次读取'],
  presetNagle: ['Nagle at work', 'Nagle 起作用'],
  presetLeftover: ['A read that is too small', '读取太小'],
  presetPrefix: ['The cure: a length prefix', '解决办法：长度前缀'],
  presetCut: ['Cut on the way', '途中被切开'],
  sender: ['Sender', '发送方'],
  receiver: ['Receiver', '接收方'],
  path: ['On the way', '途中'],
  messages: ['Messages', '消息'],
  messagesHint: ['one send for each line', '每行一次发送'],
  noDelay: ['Nagle off (TCP_NODELAY)', '关闭 Nagle（TCP_NODELAY）'],
  lateAck: ['The peer delays its acknowledgement', '对端延迟确认'],
  lateAckHint: ['a short dialogue comes first, as in an interactive program', '先来一段对话，像交互式程序那样'],
  delay: ['Pause between sends', '发送之间的间隔'],
  readSize: ['Each read asks for', '每次读取的大小'],
  framing: ['Framing', '成帧方式'],
  framingNone: ['none: a read is a message', '无：一次读取就是一条消息'],
  framingI32: ['i32le: struct.pack("i")', 'i32le：struct.pack("i")'],
  framingU32: ['u32be: 4 bytes, network order', 'u32be：4 字节，网络字节序'],
  framingVarint: ['varint: a length of 1 to 5 bytes', 'varint：1 到 5 字节的长度'],
  framingLines: ['lines: a newline behind each', 'lines：每条后面一个换行'],
  framingNetstring: ['netstring: 5:hello,', 'netstring：5:hello,'],
  slice: ['Cut into pieces of', '切成小块'],
  sliceOff: ['not cut', '不切'],
  latency: ['Delay', '延迟'],
  bytes: ['bytes', '字节'],
  ms: ['ms', '毫秒'],
  running: ['running …', '正在运行……'],
  // timeline
  drawnAs: ['Drawn over', '按什么画'],
  viewLadder: ['Time', '时间'],
  viewLanes: ['Bytes', '字节'],
  client: ['Client', '客户端'],
  clientNo: ['client {n}', '客户端 {n}'],
  wire: ['wire', '线路'],
  wireUnseen: ['on the way (not seen)', '途中（看不到）'],
  ack: ['ack {n}', '确认 {n}'],
  acknowledged: ['acknowledgement of {n#byte|bytes}', '确认 {n} 字节'],
  again: ['sent again', '重发'],
  pauseOf: ['{ms} without an event', '{ms} 内没有事件'],
  heldFor: [
    'Bytes waited in the sender’s system for up to {ms} until a segment took them.',
    '字节在发送方系统里等了最多 {ms}，才有报文段带走它们。',
  ],
  keptFor: [
    'Bytes waited in the receiver’s system for up to {ms} until a read took them.',
    '字节在接收方系统里等了最多 {ms}，才被一次读取取走。',
  ],
  firstEvents: [
    'The first {n} events. All are over the bytes and in the table.',
    '只画出前 {n} 个事件，其余见字节视图和表格。',
  ],
  realTime: ['in real time', '实时速度'],
  slowed: ['{n} times slower than it was', '放慢 {n} 倍'],
  writes: ['writes', '写入'],
  segments: ['segments', '报文段'],
  reads: ['reads', '读取'],
  messagesLane: ['messages', '消息'],
  laneWrites: ['what the sender gave to the system', '发送方交给系统的'],
  laneSegments: ['what crossed, seen by a capture', '真正经过线路的，由抓包看到'],
  laneReads: ['what each read returned', '每次读取得到的'],
  laneMessages: ['what the receiver takes for messages', '接收方当作消息的'],
  counted: [
    '{n#segment|segments}, counted by the kernel: a socket cannot see them',
    '{n} 个报文段，由内核计数：套接字看不到它们',
  ],
  notSeen: ['not seen: {reason}', '看不到：{reason}'],
  nothing: ['nothing', '无'],
  play: ['Play', '播放'],
  pause: ['Pause', '暂停'],
  previous: ['Step back', '后退一步'],
  next: ['Step forward', '前进一步'],
  position: ['Position', '位置'],
  eventOf: ['event {n} of {all}: {what}', '第 {n} 步，共 {all} 步：{what}'],
  begin: ['the beginning', '开始'],
  eventWrite: ['write of {n#byte|bytes}', '写入 {n} 字节'],
  eventSegment: ['segment of {n#byte|bytes}', '{n} 字节的报文段'],
  eventRead: ['read of {n#byte|bytes}', '读取 {n} 字节'],
  eventMessage: ['message of {n#byte|bytes}', '{n} 字节的消息'],
  asTable: ['The events as a table', '以表格列出'],
  columnTime: ['time', '时间'],
  columnWhat: ['what', '事件'],
  columnBytes: ['bytes', '字节'],
  columnContent: ['content', '内容'],
  summary: [
    '{w#send|sends} came out as {r#read|reads} and {m#message|messages}',
    '{w} 次发送得到 {r} 次读取、{m} 条消息',
  ],
  summaryLane: ['Timeline: {text}', '时间线：{text}'],
  glued: ['A read holds more than one send: glued.', '有的读取里不止一次发送：粘在一起了。'],
  split: ['A send is spread over several reads: split.', '有的发送分散在几次读取里：被拆开了。'],
  right: ['Every message came out as it was sent.', '每条消息都和发送的一样。'],
  wrong: ['The messages that came out differ from those that were sent.', '得到的消息和发送的不一样。'],
  // phenomena
  run: ['Run', '运行'],
  runAgain: ['Run again', '再次运行'],
  choose: ['Choose a phenomenon', '选择一个现象'],
  chapterSays: ['The chapter says', '教程的说法'],
  measured: ['Measured', '测量结果'],
  notShown: ['Not shown', '未能展示'],
  p_sticky: ['Three sends, one read', '三次发送，一次读取'],
  p_leftover: ['One send, small reads', '一次发送，读取太小'],
  p_udp: ['UDP keeps the boundaries', 'UDP 保留消息边界'],
  p_empty: ['An empty message', '空消息'],
  p_loss: ['A path that loses packets', '会丢包的路径'],
  p_ready: ['The first cure: “ready”', '第一种解决办法：ready'],
  p_prefix: ['The cure: a length in front', '解决办法：长度前缀'],
  p_rtt: ['What “ready” costs', 'ready 的代价'],
  p_concurrency: ['Many clients at once', '多个客户端同时连接'],
  f_largest: ['largest datagram', '最大的数据报'],
  f_tooLarge: ['too large', '过大'],
  f_error: ['refused with', '错误'],
  f_droppedPackets: ['packets dropped', '丢弃的包'],
  f_retransmittedSegments: ['segments sent again', '重发的报文段'],
  f_whole: ['arrived whole', '完整到达'],
  f_longestGapMs: ['longest wait, ms', '最长的等待（毫秒）'],
  f_lostMessages: ['messages lost', '丢失的消息'],
  f_messagesEach: ['messages each', '各发消息数'],
  yes: ['yes', '是'],
  no: ['no', '否'],
  separator: ['; ', '；'],
  fullStop: ['.', '。'],
  // inspect and chaos
  inspectIntro: [
    'A proxy between a client and a server: which reads carried which messages. Bytes pass unaltered. The reads are the proxy’s.',
    '客户端与服务端之间的代理：哪次读取带来了哪些消息。字节原样通过。这里的读取是代理的读取。',
  ],
  chaosIntro: [
    'A proxy that does to bytes what networks do. The same seed does the same at the same bytes.',
    '一个代理，对字节做网络会做的事。同样的种子在同样的字节上做同样的事。',
  ],
  server: ['Server', '服务端'],
  serverHint: [
    'HOST:PORT, or demo: an echo server (u32be) of the lab',
    'HOST:PORT；或 demo：实验室自带的回显服务（u32be）',
  ],
  framingUp: ['Framing of the client', '客户端的成帧方式'],
  framingDown: ['Framing of the server', '服务端的成帧方式'],
  framingHint: ['u32be, lines, varint …; raw: none; guess: find it', 'u32be、lines、varint……；raw：无；guess：猜'],
  start: ['Start', '开始'],
  stop: ['Stop', '停止'],
  sendTraffic: ['Send demonstration traffic', '发送演示数据'],
  listening: ['Point your client at {address}', '让你的客户端连接 {address}'],
  nothingYet: ['Nothing has passed yet.', '还没有数据通过。'],
  events: ['Events', '事件'],
  toServer: ['client to server', '客户端到服务端'],
  toClient: ['server to client', '服务端到客户端'],
  opened: ['connection {n} opened by {client}', '连接 {n}：来自 {client}'],
  closed: [
    'connection {n} closed: {up#byte|bytes} there, {down} back',
    '连接 {n} 已关闭：去 {up} 字节，回 {down} 字节',
  ],
  ended: ['ended', '结束'],
  misfit: ['the framing {framing} cannot be right: {reason}', '成帧方式 {framing} 不对：{reason}'],
  fits: ['what was seen fits {list}', '看到的数据符合 {list}'],
  guessed: ['looks like {list}', '看起来是 {list}'],
  readOf: ['read of {n#byte|bytes}', '读取 {n} 字节'],
  tagWhole: ['whole', '完整'],
  tagGlued: ['glued', '粘连'],
  tagSplit: ['split', '拆开'],
  tagPartial: ['partial', '不完整'],
  tagFault: ['fault', '故障'],
  nMessages: ['{n#message|messages}', '{n} 条消息'],
  message: ['message {n}', '消息 {n}'],
  emptyMessage: ['(empty)', '（空）'],
  trafficDone: [
    '{s#message|messages} sent, {r} came back in {reads#read|reads}',
    '发送 {s} 条消息，{reads} 次读取收回 {r} 条',
  ],
  trafficSame: ['all of them as they were sent', '全部和发送的一样'],
  trafficDiffers: ['some of them differ from what was sent', '和发送的不一样'],
  trouble: ['trouble: {what}', '问题：{what}'],
  seed: ['Seed', '种子'],
  jitter: ['Jitter', '抖动'],
  coalesce: ['Glue within', '合并'],
  throttle: ['At most', '限速'],
  bytesPerSecond: ['bytes/s', '字节/秒'],
  corrupt: ['Flip a bit, probability', '位翻转的概率'],
  stall: ['Stall', '停顿'],
  cutEvery: ['Cut after', '多少字节后切断'],
  resetAfter: ['Reset after', '多少字节后重置'],
  halfClose: ['Half-close after the client’s first piece', '客户端发出第一块之后半关闭'],
  off: ['0: off', '0：不启用'],
  faults: ['Faults', '故障种类'],
};

export type Word = keyof typeof WORDS;

let language: 'en' | 'zh' = document.documentElement.lang === 'zh' ? 'zh' : 'en';

export function currentLanguage() {
  return language;
}

export function setLanguage(value: string) {
  language = value === 'zh' ? 'zh' : 'en';
  document.documentElement.lang = language;
}

/** @param values replace `{name}` in the text; `{name#read|reads}` adds the noun after it */
export function t(name: Word, values: Record<string, string | number | undefined> = {}) {
  const said = WORDS[name]?.[language === 'zh' ? 1 : 0] ?? name;
  return said.replace(
    /\{(\w+)(?:#(\w+)\|(\w+))?\}/g,
    (_, key: string, one: string | undefined, many: string | undefined) => {
      const value = String(values[key] ?? '');
      return one ? `${value} ${value === '1' ? one : many}` : value;
    },
  );
}

/** Sets every text of the document that is marked with its word. */
export function translateDocument() {
  for (const element of document.querySelectorAll('[data-word]')) {
    element.textContent = t(element.getAttribute('data-word') as Word);
  }
  for (const element of document.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', t(element.getAttribute('data-label') as Word));
  }
}
