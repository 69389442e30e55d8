# kernmesh's image: `docker build .` for the agent and all other roles, `--target bcc` with bcc and
# its LLVM besides, for kernels without BTF. For another processor: --platform linux/arm64.
# Before it: make version, which writes exporter/_version.py, as the image's build sees no git.
ARG DEBIAN=bookworm-slim

FROM debian:${DEBIAN} AS build
ARG SOURCE_DATE_EPOCH=0
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends clang gcc libbpf-dev make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/run.lock requirements/
RUN python3 -m venv --without-pip /opt/kernmesh && python3 -m venv /build \
 && /build/bin/pip --python /opt/kernmesh/bin/python install -q --no-compile --require-hashes -r requirements/run.lock \
 && /build/bin/pip install -q --no-compile --require-hashes -r requirements/run.lock
COPY . .
RUN make -s -C bpf && /build/bin/python -m hatchling build -t wheel -d /dist \
 && /build/bin/pip --python /opt/kernmesh/bin/python install -q --no-compile --no-deps --no-index /dist/*.whl \
 && rm -rf /opt/kernmesh/lib/python3*/site-packages/hatchling* /opt/kernmesh/lib/python3*/site-packages/editables*

FROM debian:${DEBIAN} AS runtime-base
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends libbpf1 python3 tzdata \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/* \
 && groupadd --system --gid 65532 kernmesh \
 && useradd --system --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent kernmesh \
 && mkdir -p /etc/kernmesh && install -d -m 0700 /var/lib/kernmesh
COPY --from=build /opt/kernmesh /opt/kernmesh
ENV PATH=/opt/kernmesh/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/opt/kernmesh/bin/kernmesh"]
CMD ["agent"]
EXPOSE 9435 9115 9000

FROM runtime-base AS bcc
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends python3-bpfcc \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt
COPY --from=build /usr/include/bpf /usr/include/bpf
USER 65532:65532

FROM runtime-base AS runtime
USER 65532:65532
