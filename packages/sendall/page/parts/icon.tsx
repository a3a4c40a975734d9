/** Line icons of one weight, drawn in a square of 16. */
const PATHS = {
  hosts: 'M2.5 3h11v4h-11z M2.5 9h11v4h-11z M5 5h.01 M5 11h.01',
  runs: 'M2.5 4h8 M2.5 8h11 M2.5 12h6',
  run: 'M4.5 2.8 12.5 8l-8 5.2z',
  policy: 'M8 1.8 13 3.6v4.2c0 3-2.1 5.2-5 6.4-2.9-1.2-5-3.4-5-6.4V3.6z M5.8 8 7.4 9.6 10.4 6.4',
  terminal: 'M2 3h12v10H2z M4.5 6 6.8 8 4.5 10 M8 10.2h3.4',
  search: 'M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9z M10.4 10.4 14 14',
  download: 'M8 2v8 M4.8 7 8 10.2 11.2 7 M2.5 13.5h11',
  close: 'M3.5 3.5 12.5 12.5 M12.5 3.5 3.5 12.5',
  more: 'M3 8h.01 M8 8h.01 M13 8h.01',
  plus: 'M8 3v10 M3 8h10',
  up: 'M3.5 10 8 5.5 12.5 10',
  down: 'M3.5 6 8 10.5 12.5 6',
  follow: 'M8 2v9 M4.5 7.5 8 11l3.5-3.5 M3 14h10',
  keys: 'M1.5 4h13v8.5h-13z M4 6.5h.01 M6.7 6.5h.01 M9.3 6.5h.01 M12 6.5h.01 M4.5 10h7',
  again: 'M13 8a5 5 0 1 1-1.6-3.7 M13 2v3h-3',
  eye: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8z M8 6.2a1.8 1.8 0 1 1 0 3.6 1.8 1.8 0 0 1 0-3.6z',
  check: 'M3 8.5 6.4 12 13 4.5',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      width="16"
      height="16"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
