/** A field for node-set words with type-ahead: a combobox whose suggestions complete the word at the caret. */
import { useId, useRef, useState } from 'preact/hooks';
import type { HostIndex } from './targets.js';
import { Foreign } from './foreign.js';

export interface TargetFieldProps {
  readonly id?: string;
  readonly label: string;
  readonly value: string;
  readonly placeholder?: string;
  readonly hosts: HostIndex;
  readonly problem?: string | undefined;
  /** A filter: `/` leads here, and Escape empties it. */
  readonly isFilter?: boolean;
  /** The first field of a form: `/` leads here. */
  readonly isFirst?: boolean;
  readonly onInput: (text: string) => void;
}

export function TargetField(props: TargetFieldProps) {
  const { label, value, placeholder, hosts, problem, isFilter, isFirst, onInput } = props;
  const ownId = useId();
  const id = props.id ?? ownId;
  const field = useRef<HTMLInputElement>(null);
  const [caret, setCaret] = useState<number>();
  const [chosen, setChosen] = useState(-1);
  const offered = caret === undefined ? [] : hosts.suggest(value, caret);

  function take(index: number) {
    const suggestion = offered[index];
    if (!suggestion) return;
    onInput(suggestion.text);
    setCaret(undefined);
    setChosen(-1);
    requestAnimationFrame(() => field.current?.setSelectionRange(suggestion.caret, suggestion.caret));
  }

  function onKeyDown(event: KeyboardEvent) {
    const open = offered.length > 0;
    if (event.key === 'Escape') {
      if (open) setCaret(undefined);
      else if (value !== '' && isFilter) onInput('');
      else field.current?.blur();
    } else if (open && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      // The field itself is one of the places, before the first suggestion.
      const places = offered.length + 1;
      const step = event.key === 'ArrowDown' ? 1 : -1;
      setChosen(((chosen + 1 + step + places) % places) - 1);
    } else if (open && event.key === 'Tab' && !event.shiftKey) take(Math.max(chosen, 0));
    else if (open && event.key === 'Enter' && chosen >= 0) take(chosen);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <div class="targets">
      <input
        ref={field}
        id={id}
        class="input mono"
        type="text"
        role="combobox"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        aria-label={label}
        aria-autocomplete="list"
        aria-expanded={offered.length > 0}
        aria-controls={`${id}-list`}
        aria-activedescendant={chosen >= 0 && offered[chosen] ? `${id}-${chosen}` : undefined}
        aria-invalid={problem !== undefined}
        aria-describedby={problem === undefined ? undefined : `${id}-problem`}
        data-filter={isFilter || isFirst || undefined}
        placeholder={placeholder}
        value={value}
        onInput={({ currentTarget }) => {
          setCaret(currentTarget.selectionStart ?? currentTarget.value.length);
          setChosen(-1);
          onInput(currentTarget.value);
        }}
        onKeyDown={onKeyDown}
        onBlur={() => setCaret(undefined)}
      />
      <ul id={`${id}-list`} class="offers" role="listbox" aria-label={label} hidden={offered.length === 0}>
        {offered.map(({ word }, i) => (
          <li
            key={word}
            id={`${id}-${i}`}
            role="option"
            aria-selected={i === chosen}
            onMouseDown={(event) => {
              event.preventDefault();
              take(i);
            }}
          >
            <Foreign text={word} />
          </li>
        ))}
      </ul>
      {problem !== undefined && (
        <p id={`${id}-problem`} class="problem">
          {problem}
        </p>
      )}
    </div>
  );
}
