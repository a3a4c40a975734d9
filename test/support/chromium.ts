/** How tests start the browser in which they look at pages. */
import { patience } from './waits.js';

export const chromiumOptions = () => ({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox'],
  timeout: patience(60_000),
});
