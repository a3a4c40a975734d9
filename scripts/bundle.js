// Places for built files that tsc does not make. Each step is skipped until its source exists.
