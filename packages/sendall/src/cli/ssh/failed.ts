/** The exit code of ssh for everything that is not the command's own end. */
export const FAILED = 255;
