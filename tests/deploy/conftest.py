"""Helm's library comes for x86-64 alone; elsewhere the chart's tests are not collected."""

import platform

collect_ignore = [] if platform.machine() == "x86_64" else ["test_chart.py"]
