"""How strong the tests are: one small change of the code at a time, and whether a test notices (docs/mutants.md).

`python` and `lua` list the changes of a file, `sites` draws some of them, `trace` tells which test runs which line, `play`
forks a child for each change that swaps it in (`swap`) and runs those tests, `judge` keeps the score.
"""
