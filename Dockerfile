# spikejax on the CPU, or with EXTRAS on GPUs and TPUs; docs/installing.md lists the extras:
#
#   docker build --tag spikejax .
#   docker build --build-arg EXTRAS=train,cuda12 --tag spikejax:cuda12 .
#   docker build --build-arg EXTRAS=train,tpu --tag spikejax:tpu .

ARG PYTHON=3.13
FROM python:${PYTHON}-slim
ARG EXTRAS=train,data
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
COPY . /tmp/spikejax
RUN bash /tmp/spikejax/scripts/install.sh /opt/spikejax "$EXTRAS" && rm -rf /tmp/spikejax
# Launchers call `python -m spikejax.train` in place of the entry point.
ENV PATH=/opt/spikejax/bin:$PATH
WORKDIR /work
ENTRYPOINT ["spikejax"]
CMD ["--help"]
