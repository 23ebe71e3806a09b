"""The settings: where each is looked for, how it is read, and what is wrong with it."""
