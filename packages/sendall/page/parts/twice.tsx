/** A button for what destroys: the first press asks, the second one within some seconds acts. */
import { useEffect, useRef, useState } from 'preact/hooks';

/** Milliseconds in which the second press counts; a double click is no answer to a question. */
const [EARLIEST, LATEST] = [400, 6000];

export interface TwiceProps {
  readonly word: string;
  /** The question, which takes the place of the word. */
  readonly sure: string;
  readonly disabled?: boolean;
  readonly onSure: () => void;
}

export function Twice({ word, sure, disabled = false, onSure }: TwiceProps) {
  const [asked, setAsked] = useState(false);
  const at = useRef(0);
  useEffect(() => {
    if (!asked) return undefined;
    const timer = setTimeout(() => setAsked(false), LATEST);
    return () => clearTimeout(timer);
  }, [asked]);
  const press = () => {
    if (!asked) {
      at.current = performance.now();
      setAsked(true);
    } else if (performance.now() - at.current > EARLIEST) {
      setAsked(false);
      onSure();
    }
  };
  return (
    <button
      type="button"
      class={`btn danger ${asked ? 'sure' : ''}`}
      disabled={disabled}
      aria-live="polite"
      onClick={press}
      onBlur={() => setAsked(false)}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        event.stopPropagation();
        setAsked(false);
      }}
    >
      {asked ? sure : word}
    </button>
  );
}
