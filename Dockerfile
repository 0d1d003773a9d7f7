# The tuning job as an image: `make image`, or `docker build --build-arg VARIANT=gpu .`
#
# What the dependencies take is a layer of its own: a change of the code rebuilds, pushes and pulls a few hundred kB.

# Pin it by digest where builds must repeat: python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm
# cpu or gpu: which lock file, and with it which build of TensorFlow.
ARG VARIANT=cpu

FROM ${BASE} AS dependencies
ARG VARIANT
# hadolint ignore=DL3008 # `strip` alone is wanted, any version of it, and it does not get into the image.
RUN set -eu; \
    apt-get update; \
    apt-get install --yes --no-install-recommends binutils; \
    rm -rf /var/lib/apt/lists/*
COPY requirements/${VARIANT}.txt /build/requirements.txt
# One instruction, because each would keep its own copy of two libraries of 0.85 GB:
# - the environment has no pip of its own, so that what is copied below has none;
# - nothing is imported from TensorFlow's headers, sources and tests, nor libclang from anywhere, nor what Arrow has for
#   its network protocol and query plans;
# - nor are the packages' own commands;
# - a fifth of TensorFlow's libraries is symbols for debuggers (only its own files are stripped: those of wheels that
#   auditwheel has patched do not survive it);
# - bytecode with unchecked hashes is used whatever becomes of the files' times on the way through registries.
RUN set -eu; \
    python -m venv --without-pip /opt/tuning-job; \
    python -m pip --python /opt/tuning-job/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --require-hashes --requirement /build/requirements.txt; \
    packages="$(/opt/tuning-job/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
    rm -rf "${packages}"/tensorflow/include "${packages}"/tensorflow/xla_aot_runtime_src "${packages}"/clang/native; \
    for package in h5py joblib numpy scipy sklearn; do \
        find "${packages}/${package}" -type d -name tests -prune -exec rm -rf {} +; \
    done; \
    rm -rf "${packages}"/pyarrow/include "${packages}"/pyarrow/tests "${packages}"/pyarrow/libarrow_flight.so.* \
        "${packages}"/pyarrow/libarrow_substrait.so.* "${packages}"/pyarrow/libarrow_python_flight.so.* \
        "${packages}"/pyarrow/_flight.*.so "${packages}"/pyarrow/_substrait.*.so "${packages}"/onnx/backend/test; \
    find "${packages}" -name '*.a' -delete; \
    find /opt/tuning-job/bin -type f -delete; \
    find "${packages}/tensorflow" -type f -name '*.so*' -exec strip --strip-unneeded {} +; \
    /opt/tuning-job/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash "${packages}"

FROM dependencies AS package
COPY pyproject.toml README.md LICENSE /build/
COPY job /build/job
# Installed as seen from the environment, into a folder that holds nothing else.
RUN set -eu; \
    python -m pip --python /opt/tuning-job/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --no-index --no-deps --no-build-isolation --root /package /build; \
    /opt/tuning-job/bin/python -m compileall -q -f --invalidation-mode unchecked-hash -s /package /package

FROM ${BASE} AS base-cpu

# What NVIDIA's container runtime goes by.
FROM ${BASE} AS base-gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# hadolint ignore=DL3006 # One of the two above.
FROM base-${VARIANT}
# - The base's own library has no bytecode, and on a read-only root every start would compile it again.
# - Nothing installs packages here: no pip, no bundle of it either.
# - No program changes its user, and any numeric user will do: only /scratch is written to, and /tmp where it can be.
RUN set -eu; \
    python -m pip uninstall --quiet --yes --root-user-action ignore pip setuptools wheel; \
    library="$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"; \
    rm -rf "${library}/ensurepip" /root/.cache; \
    python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash -x '/(test|idlelib|lib2to3|turtledemo)/' "${library}"; \
    echo 'tuning-job:x:10001:10001::/scratch:/usr/sbin/nologin' >> /etc/passwd; \
    echo 'tuning-job:x:10001:' >> /etc/group; \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +; \
    install -d -m 1777 /scratch
COPY --from=dependencies /opt/tuning-job /opt/tuning-job
COPY --from=package /package/opt/tuning-job /opt/tuning-job

# HOME and TMPDIR for what writes without being asked: Keras its settings, boto3 its token cache.
ENV PATH=/opt/tuning-job/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/scratch \
    TMPDIR=/scratch \
    JOB_SCRATCH=/scratch/tuning-job
# A relative output, as the quickstart's ./runs, is in the volume as well.
WORKDIR /scratch
VOLUME ["/scratch"]
USER 10001:10001
# No shell in between: SIGTERM reaches the job itself. Without a command it is `run`.
ENTRYPOINT ["tuning-job"]

# Last, because they change with every commit. The image's digest is known only once it is pushed: whoever deploys it
# sets JOB_IMAGE_DIGEST.
ARG VERSION=unknown
ARG REVISION=
ARG SOURCE=https://github.com/example/tuning-job
ENV JOB_GIT_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="tuning-job" \
      org.opencontainers.image.description="Tunes a Keras model on a schedule, unattended" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
