# The environment of `make run` as an image, from the same lock. JupyterLab prints an address with a token:
#   docker build -t fmnotes .                               docker run --rm -p 8888:8888 fmnotes
#   docker build -t fmnotes --build-arg DEVICE=cuda .       docker run --rm -p 8888:8888 --gpus all fmnotes
# The lock's torch brings its own CUDA libraries and runs without a GPU too. What DEVICE=cuda adds is leave to use
# the host's GPUs and a C compiler, which Triton needs to build its launchers.
ARG DEVICE=cpu

FROM python:3.11-slim AS cpu
ENV NVIDIA_VISIBLE_DEVICES=void

FROM python:3.11-slim AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

FROM ${DEVICE}
RUN pip install --no-cache-dir --target /opt/uv uv \
    && useradd --create-home student && install --directory --owner student /home/student/fmnotes
WORKDIR /home/student/fmnotes
COPY requirements.lock .
RUN /opt/uv/bin/uv pip sync --system --no-cache --compile-bytecode requirements.lock
COPY --chown=student . .
RUN /opt/uv/bin/uv pip install --system --no-cache --no-deps --editable .
USER student
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks"]
