"""`python -m tests.deploy`: writes what is made of the chart."""

from tests.deploy.chart import made, write_schema

write_schema()  # which Helm holds the values to that all else is rendered with
for path, text in made().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(path)
