"""Settings, read from the environment. `whispr/checks.py` explains a missing or dangerous value."""

import os
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ

from whispr.embedded.runfile import apply_to_environment, data_directory
from whispr.kernel.environment import switch, whole_number
from whispr.kernel.limits import LIMITS

BASE_DIR = Path(__file__).resolve().parent.parent
apply_to_environment()
env = environ.Env()

DEBUG = switch("WHISPR_DEBUG", False)
SECRET_KEY = env.str("WHISPR_SECRET_KEY", default="")
ALLOWED_HOSTS = env.list("WHISPR_ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]", "testserver"])
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "axes",
    "whispr",
    "messaging",
    "delivery",
    "trust",
    "integrations",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whispr.headers.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "whispr.urls"
ASGI_APPLICATION = "whispr.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# --- PostgreSQL: a pool a process, server-side binding, and a deadline on every wait ---
DATABASE_URL = env.str("DATABASE_URL", default="")
DATABASES = {"default": env.db_url_config(DATABASE_URL or "postgres://whispr@127.0.0.1:5432/whispr")}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": 0,
    "CONN_HEALTH_CHECKS": False,
    "OPTIONS": {
        **DATABASES["default"].get("OPTIONS", {}),
        # Enough for the commit lanes, the patient lanes, catch-up reads and REST of one process.
        "pool": {
            "min_size": 2,
            "max_size": whole_number("WHISPR_DB_POOL", 20, least=2),
            "timeout": LIMITS.pool_wait_seconds,
            # Then the pool gives up to connect, until it is asked for a connection again. By its default it goes on by
            # itself, after pauses that double: when the database was away for a minute, it would stay away for two.
            "reconnect_timeout": 1,
        },
        "connect_timeout": LIMITS.connect_seconds,
        "tcp_user_timeout": 5_000,
        "keepalives_idle": 5,
        "prepare_threshold": 5,
        "options": f"-c statement_timeout={LIMITS.statement_timeout_ms} -c lock_timeout={LIMITS.lock_timeout_ms}"
        " -c idle_in_transaction_session_timeout=10000",
    },
}

# --- Redis: the doorbell, caches, tickets, the Celery broker ---
REDIS_URL = env.str("REDIS_URL", default="")
_REDIS = REDIS_URL or "redis://127.0.0.1:6379/0"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": _REDIS,
                    "socket_connect_timeout": 1,
                    "socket_timeout": LIMITS.redis_timeout_ms / 1000,
                }
            ],
            # Redis's pub/sub ignores the database number: two deployments on one server are kept apart by the prefix.
            "prefix": f"whispr.{urlsplit(_REDIS).path.strip('/') or '0'}",
        },
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": _REDIS,
        "KEY_PREFIX": "whispr",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
    }
}

# --- Celery: PostgreSQL rows are the truth, Celery is the engine ---
CELERY_BROKER_URL = _REDIS
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 100
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: Redis may be away for as long as it is
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # After so long a task that nobody acknowledged is given out again: far beyond CELERY_TASK_TIME_LIMIT, so that no
    # running task is given out twice. Nothing waits for it: what a dead worker held, the next run of the beat does.
    "visibility_timeout": 600,
    "global_keyprefix": "whispr-celery-",
    # A Redis that hangs is noticed. Kombu's own reads block for a second at most.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "retry_on_timeout": True,
    "health_check_interval": 10,
}
# A beat without Redis drops a run after some tries instead of waiting: the next run does its work.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 2, "interval_start": 0.2, "interval_step": 0.3}
# One queue a purpose, so that a flood in one holds up no other (docs/operations.md "Periodic work").
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_TASK_ROUTES = [
    [
        ("messaging.tasks.expire_messages", {"queue": "expiry"}),
        ("messaging.tasks.send_due_scheduled", {"queue": "scheduled"}),
        ("messaging.tasks.settle_media_links", {"queue": "recovery"}),
        ("*.purge_*", {"queue": "maintenance"}),
        ("*recover*", {"queue": "recovery"}),
        ("*push*", {"queue": "push"}),
    ]
]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# --- Identity (docs/protocol.md §1) ---
WHISPR_JWT_ALGORITHMS = env.list("WHISPR_JWT_ALGORITHMS", default=["HS256"])
WHISPR_JWT_SECRET = env.str("WHISPR_JWT_SECRET", default="")
WHISPR_JWT_JWKS_URL = env.str("WHISPR_JWT_JWKS_URL", default="")
WHISPR_JWT_ISSUER = env.str("WHISPR_JWT_ISSUER", default="whispr")
WHISPR_JWT_AUDIENCE = env.str("WHISPR_JWT_AUDIENCE", default="whispr")
WHISPR_ALLOW_QUERY_TOKEN = switch("WHISPR_ALLOW_QUERY_TOKEN", False)
WHISPR_ALLOWED_ORIGINS = env.list("WHISPR_ALLOWED_ORIGINS", default=[])
WHISPR_DEV_LOGIN = switch("WHISPR_DEV_LOGIN", False)
WHISPR_SIGNATURES = env.str("WHISPR_SIGNATURES", default="required")

# --- Media (the built-in store): a directory that all processes share ---
WHISPR_MEDIA_DIR = Path(env.str("WHISPR_MEDIA_DIR", default=str(data_directory(os.environ) / "media")))

# --- The process ---
WHISPR_COMMIT_LANES = whole_number("WHISPR_COMMIT_LANES", 1, least=1)
WHISPR_METRICS_PORT = whole_number("WHISPR_METRICS_PORT", 0, most=65_535)
WHISPR_METRICS_HOST = env.str("WHISPR_METRICS_HOST", default="127.0.0.1")
# Whether the last entries of conversations are kept in Redis, to be read while the database is away.
WHISPR_CACHED_READS = switch("WHISPR_CACHED_READS", True)
# Which messages' steps are kept for `messages/{id}/trace`: off, sampled (1 in 256), all.
WHISPR_TRACE = env.str("WHISPR_TRACE", default="sampled")
# Whether each entry's hash covers the one before, so that a client can prove that nothing was left out.
WHISPR_HASH_CHAIN = switch("WHISPR_HASH_CHAIN", False)

# --- The entry for other services (docs/protocol.md "Services around it"): gRPC, on loopback or with mutual TLS; not
# started when unset ---
WHISPR_GRPC_ADDRESS = env.str("WHISPR_GRPC_ADDRESS", default="")
WHISPR_GRPC_CERT = env.str("WHISPR_GRPC_CERT", default="")
WHISPR_GRPC_KEY = env.str("WHISPR_GRPC_KEY", default="")
WHISPR_GRPC_CLIENT_CA = env.str("WHISPR_GRPC_CLIENT_CA", default="")

# --- The services that this one calls (docs/protocol.md "Services around it"): host:port each; the local answer when
# unset. TLS with the authority of their certificates, mutual TLS with a certificate of our own ---
WHISPR_USER_SERVICE = env.str("WHISPR_USER_SERVICE", default="")
WHISPR_MEDIA_SERVICE = env.str("WHISPR_MEDIA_SERVICE", default="")
WHISPR_NOTIFICATION_SERVICE = env.str("WHISPR_NOTIFICATION_SERVICE", default="")
WHISPR_SERVICES_CA = env.str("WHISPR_SERVICES_CA", default="")
WHISPR_SERVICES_CERT = env.str("WHISPR_SERVICES_CERT", default="")
WHISPR_SERVICES_KEY = env.str("WHISPR_SERVICES_KEY", default="")

# --- REST (docs/protocol.md §7) ---
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["messaging.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["messaging.api.body.JsonBytesParser"],
    "DEFAULT_RENDERER_CLASSES": ["messaging.api.body.StructRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "messaging.api.body.OneFormat",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "messaging.api.problem.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Whispr",
    "DESCRIPTION": "The core of an end-to-end encrypted messenger. Errors are `application/problem+json` (RFC 9457).",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
    "POSTPROCESSING_HOOKS": ["messaging.api.openapi.add_components"],
}

# --- The admin (django-unfold) ---
UNFOLD = {"SITE_TITLE": "Whispr", "SITE_HEADER": "Whispr", "SHOW_VIEW_ON_SITE": False}

# --- A brake on guessing the passwords of staff (django-axes): an address that failed so often waits, whatever user it
# names. `manage.py axes_reset` lets everybody try again.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = ["ip_address"]
AXES_FAILURE_LIMIT = LIMITS.login_failures
AXES_COOLOFF_TIME = timedelta(seconds=LIMITS.login_pause_seconds)
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- Static files: the admin and the built web client ---
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("WHISPR_STATIC_ROOT", default=str(BASE_DIR / ".state" / "static")))
STATICFILES_DIRS = [("web", BASE_DIR / "sdk" / "apps" / "web" / "dist")]
WHITENOISE_USE_FINDERS = True
# Vite puts a hash of the content into these names, so browsers may keep them for ever.
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/static/web/assets/.+-[\w-]{8}\.\w+$"

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
if switch("WHISPR_HTTPS", False):
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "whispr.kernel.log_output.ConsoleHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": os.environ.get("WHISPR_LOG_LEVEL", "INFO")},
    "loggers": {"django.request": {"level": "ERROR"}, "httpx": {"level": "WARNING"}},
}
