"""``syncer doctor``: looks at everything a sync needs and says what is wrong and what to do.

It takes no lock, writes nothing, migrates nothing. ``run`` does all checks, ``checks`` says how
one is done, and each topic has a file: its probes, which look, and its judgements, which are pure
functions from what was seen to a ``finding``.
"""
