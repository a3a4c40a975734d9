/** A command as one box a word: what stands in a box reaches the program as that word, with its blanks and line ends. */
import { useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../../frame/words.js';
import { Icon } from '../../parts/icon.js';

export interface WordsEditorProps {
  readonly words: readonly string[];
  readonly onChange: (words: readonly string[]) => void;
  readonly onSubmit: () => void;
}

export function WordsEditor({ words, onChange, onSubmit }: WordsEditorProps) {
  const editor = useRef<HTMLDivElement>(null);
  /** The box that gets the focus after the next drawing. */
  const next = useRef<number | undefined>(undefined);
  // At once: the next key may be there already.
  useLayoutEffect(() => {
    if (next.current === undefined) return;
    const box = editor.current?.querySelectorAll('textarea')[next.current];
    next.current = undefined;
    box?.focus();
  });

  function replace(index: number, count: number, put: readonly string[], focus?: number) {
    next.current = focus;
    onChange([...words.slice(0, index), ...put, ...words.slice(index + count)]);
  }

  function onKeyDown(event: KeyboardEvent, index: number) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) onSubmit();
    else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) replace(index + 1, 0, [''], index + 1);
    else if (event.key === 'Backspace' && words[index] === '' && words.length > 1)
      replace(index, 1, [], Math.max(0, index - 1));
    else return;
    event.preventDefault();
  }

  return (
    <div ref={editor} class="words" role="group" aria-label={t('command')} aria-describedby="words-hint">
      {words.map((word, index) => (
        <span key={index} class={index === 0 ? 'word first' : 'word'}>
          <span class="word-box">
            <textarea
              class="input mono"
              rows={1}
              spellcheck={false}
              autocapitalize="off"
              aria-label={index === 0 ? t('program') : t('word', { n: index + 1 })}
              placeholder={index === 0 ? t('program') : undefined}
              value={word}
              onInput={({ currentTarget }) => replace(index, 1, [currentTarget.value])}
              onKeyDown={(event) => onKeyDown(event, index)}
            />
            {words.length > 1 && (
              <button
                type="button"
                class="word-remove"
                tabIndex={-1}
                aria-label={t('removeWord', { n: index + 1 })}
                onClick={() => replace(index, 1, [], Math.max(0, index - 1))}
              >
                <Icon name="close" />
              </button>
            )}
          </span>
          {/\S\s+\S/.test(word) && (
            <button
              type="button"
              class="word-split"
              onClick={() => {
                const parts = word.trim().split(/\s+/);
                replace(index, 1, parts, index + parts.length - 1);
              }}
            >
              {t('splitWord')}
            </button>
          )}
        </span>
      ))}
      <button
        type="button"
        class="btn ghost icon"
        aria-label={t('addWord')}
        onClick={() => replace(words.length, 0, [''], words.length)}
      >
        <Icon name="plus" />
      </button>
    </div>
  );
}
