/** The agent's limits by the names that its status and the command line use, and the option of each. */
export const LIMIT_NAMES = {
  connections: 'maxConnections',
  unestablishedPerSource: 'maxUnestablishedPerSource',
  runsPerLink: 'maxRunsPerLink',
  questions: 'maxQuestions',
  linksPerPrincipal: 'maxLinksPerPrincipal',
  attachmentsPerPrincipal: 'maxAttachmentsPerPrincipal',
  questionsPerPrincipal: 'maxQuestionsPerPrincipal',
} as const;

export type LimitName = keyof typeof LIMIT_NAMES;
