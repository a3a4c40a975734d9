import type { Command } from '../command.js';

export const command: Command = { summary: '', help: '', run: () => Promise.reject(new Error('not yet')) };
