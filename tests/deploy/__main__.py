"""`python -m tests.deploy`: writes what is made of the chart."""

from tests.deploy.chart import made

for path, text in made().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(path)
