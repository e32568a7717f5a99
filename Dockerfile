# An image that trains; ACCELERATOR is cpu, gpu or tpu. Runs and data sets lie in mounted folders:
#
#   docker build --build-arg ACCELERATOR=gpu --tag all-mlp .
#   mkdir -p runs  # Or it would be root's.
#   docker run --init --gpus all --user "$(id -u):$(id -g)" --volume "$PWD/runs:/app/runs" \
#     --volume "$HOME/tensorflow_datasets:/data" all-mlp \
#     --config=configs/mixer_b16_cifar100.py --config.data.data_dir=/data
#
# On a TPU VM: --privileged --network=host --ulimit memlock=-1 in place of --gpus all.
FROM python:3.12-slim

ARG ACCELERATOR=cpu
WORKDIR /app

# What changes seldom comes first, and is not installed again when the code changes.
COPY setup.py pyproject.toml README.md LICENSE ./
RUN case "$ACCELERATOR" in \
      cpu) pip install --no-cache-dir . ;; \
      gpu | tpu) pip install --no-cache-dir ".[$ACCELERATOR]" ;; \
      *) echo "ACCELERATOR=$ACCELERATOR: cpu, gpu or tpu" >&2; exit 1 ;; \
    esac

COPY configs configs
COPY launch launch
COPY mlp_core mlp_core
COPY mlp_vision mlp_vision
COPY mlp_text mlp_text
RUN pip install --no-cache-dir --no-deps --editable . \
    && useradd --create-home trainer \
    && mkdir runs \
    && chown trainer runs

# Caches stay in the container, whoever --user is.
ENV HOME=/tmp/home
RUN mkdir -m 1777 /tmp/home
USER trainer
ENTRYPOINT ["python", "launch/main.py"]
