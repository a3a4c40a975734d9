/**
 * Makes xterm obey a Content-Security-Policy without inline styles while it is bundled. Its `<style>` elements become
 * elements of ours, whose text is an adopted style sheet (packages/sendall/page/views/terminal/style-element.ts), and its
 * style attributes are set through the object model. A version of xterm that has other places than these fails the build.
 */

/** Each with how often it is there. @type {[RegExp, string, number][]} */
const REPLACED = [
  [/\.createElement\("style"\)/g, '.createElement("xterm-style")', 3],
  [
    /(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)/g,
    '($1.style.cssText+=$2)',
    1,
  ],
];
/** What must not be left. */
const INLINE = /createElement\(["']style["']\)|setAttribute\(["']style["']/;

/** @returns {import('rolldown').Plugin} */
export function xtermCsp() {
  return {
    name: 'xterm-csp',
    transform: {
      filter: { id: /@xterm\/xterm\/lib\/xterm\.mjs$/ },
      handler(code) {
        let changed = code;
        for (const [pattern, replacement, expected] of REPLACED) {
          const found = changed.match(pattern)?.length ?? 0;
          if (found !== expected) this.error(`xterm has ${found} places like ${pattern}, not ${expected}`);
          changed = changed.replace(pattern, replacement);
        }
        if (INLINE.test(changed)) this.error('xterm has another place with inline styles');
        return { code: changed, map: null };
      },
    },
  };
}
