from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="change me",
    # The gateway removes this field from clients' requests, so it can be trusted.
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
)


def home(request):
    return JsonResponse({"url": request.build_absolute_uri(), "client": request.headers["X-Real-IP"]})


urlpatterns = [path("", home)]
app = get_wsgi_application()
