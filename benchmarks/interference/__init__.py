"""The experiment: interference made on purpose, on a schedule that is the label, and who sees it.

    schedule ─▶ recording ─▶ .cache/experiment/seed-N ─▶ replaying ─▶ scores ─▶ report
                                                  └ truth (the victim's own latencies)
    actions: the same antagonists, live, each answered in each way

Recording is slow and needs root, a quiet machine and real cgroups; all that comes after it is fast
and reads recordings. `python -m benchmarks interference --help`.
"""
