# The processes of script/server, one role a container, against PostgreSQL and Redis from outside (config/compose.yaml).
#   docker build -t whispr . ; docker run --env-file .env whispr web|worker|beat|grpc|migrate
FROM python:3.11-slim AS packages
RUN python -m venv /venv
COPY requirements.txt .
# Wheels only: the image needs no compiler, and no package's own build script runs.
RUN /venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements.txt \
    && /venv/bin/python -m compileall -q /venv/lib

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=whispr.settings WHISPR_STATIC_ROOT=/srv/static WHISPR_HOST=0.0.0.0 WHISPR_PORT=8000
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin whispr \
    && install -d -o whispr -g whispr /srv/media
COPY --from=packages /venv /venv
WORKDIR /srv/whispr
COPY manage.py LICENSE README.md requirements.txt ./
COPY whispr whispr
COPY messaging messaging
COPY delivery delivery
COPY trust trust
COPY integrations integrations
# The built web client is in the repository; the image needs no Node.
COPY sdk/apps/web/dist sdk/apps/web/dist
RUN python -m compileall -q . && python manage.py collectstatic --noinput --verbosity 0
USER whispr
EXPOSE 8000
# SIGTERM lets uvicorn finish what it has begun (8 s) and Celery its tasks; give both 10 s before SIGKILL.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['WHISPR_PORT'] + '/livez', timeout=2)"]
ENTRYPOINT ["python", "-m", "whispr.embedded", "run"]
CMD ["web"]
