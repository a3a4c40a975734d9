/** One line on a terminal about files on their way: which, how much, how fast, how long. */
import { basename } from 'node:path';
import type { FleetTransfer, Transfer, TransferProgress } from '../../../index.js';
import type { Arguments } from '../../words/command.js';
import { count, formatSize } from '../../words/units.js';
import { showFleetLine } from '../fleet/fleet-line.js';
import { formatRate, formatTime, Rate } from '../rate.js';
import { clearStatus, hasStatusLine, showStatus } from '../status-line.js';

/** Milliseconds before the line appears, and between two drawings. */
const PATIENCE = 500;
const PERIOD = 250;
/** Longer times say nothing. */
const LONGEST_LEFT = 100 * 3600;

/** Shows the line until the returned function is called. `only`: the one source, if there is just one. */
export function showTransferLine(transfer: Transfer, only: string | undefined, args: Arguments): () => void {
  if (!hasStatusLine() || args.on('quiet')) return () => undefined;
  const rate = new Rate();
  let timer = setTimeout(function draw() {
    const { progress, host } = transfer;
    showStatus(transferLine(host, progress, rate.take(progress.bytes, performance.now()), only));
    timer = setTimeout(draw, PERIOD).unref();
  }, PATIENCE).unref();
  return () => {
    clearTimeout(timer);
    clearStatus();
  };
}

/** "web1: app.tar 1.2 GiB 412 MB/s 00:01 left", or the same for many files. */
export function transferLine(
  host: string,
  { files, bytes, failed, totalBytes, path }: TransferProgress,
  rate: number | undefined,
  only?: string,
): string {
  const isOne = files + failed === 0 && path === undefined && only !== undefined;
  const what = isOne ? basename(only) : `${count(files, 'file')}${failed ? `, ${failed} failed` : ''}`;
  const size = isOne && totalBytes !== undefined ? totalBytes : bytes;
  const seconds = rate && totalBytes !== undefined ? (totalBytes - bytes) / rate : Infinity;
  return [
    `${host}: ${what}`,
    formatSize(size),
    ...(isOne || totalBytes === undefined ? [] : [`of ${formatSize(totalBytes)}`]),
    ...(rate === undefined ? [] : [formatRate(rate)]),
    ...(seconds >= 0 && seconds < LONGEST_LEFT ? [`${formatTime(seconds)} left`] : []),
  ].join(' ');
}

/** The same for many hosts: how many are done, the bytes, and who is late. */
export function showFleetTransferLine(transfer: FleetTransfer, args: Arguments): () => void {
  const rate = new Rate();
  return showFleetLine(transfer, args, () => {
    const { bytes, sent } = transfer.progress;
    const speed = rate.take(sent, performance.now());
    return `, ${formatSize(bytes)}${speed === undefined ? '' : ` ${formatRate(speed)}`}`;
  });
}
