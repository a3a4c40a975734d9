/** Text from hosts and commands: always text nodes, with control characters and direction marks shown, not obeyed. */
import { partsOf } from './printable.js';

/** A name, a word or a sentence from elsewhere. */
export function Foreign({ text, most = 400 }: { text: string; most?: number }) {
  const parts = partsOf(text.length > most ? `${text.slice(0, most)}…` : text);
  return (
    <bdi class="foreign">
      {parts.map((part, i) =>
        i % 2 ? (
          <span key={i} class="ctl">
            {part}
          </span>
        ) : (
          part
        ),
      )}
    </bdi>
  );
}
