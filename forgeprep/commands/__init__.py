"""The commands: one file each, which takes the flags, calls what does the work, and prints what came of it.

A command's module is imported when the command is called, so ``forgeprep --help`` imports none of them. What takes long
to import stands inside the functions.
"""
