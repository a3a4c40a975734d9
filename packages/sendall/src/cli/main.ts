console.error('nothing here yet');
process.exitCode = 1;
