"""Grafana dashboards out of templates: what a panel looks like, where it stands, which there are.

    dashboards/templates/*.json.j2 ─ render ─▶ JSON values ─ layout ─▶ dashboards/*.json

Only the command `dashboards` imports this. Knows no metrics but those that a program's YAML names;
which queries there are is the templates' own.
"""
