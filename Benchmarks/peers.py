"""What Sluice is compared with, and how each is started: as a plain forwarder with one worker."""

import http.client
import pathlib
import re
import subprocess
import time

from tools import CLAUDE, KEY, ROOT, SLUICE, Child, free_port, is_listening, sluice_config

INSTALLED = ROOT / ".build-bench"
ENVOY = "type.googleapis.com/envoy.extensions."


class Peer:
    """`ports` are for HTTP/1.1, TLS, and HTTP/2 without TLS; `tls` the certificate's files."""

    name = ""
    headers = ()
    # Takes so little load that it gets less, which the tables say.
    is_slow = False
    translates = False
    has_tls = True
    has_http2 = True
    version_option = "-v"
    environment = {}

    def program(self):
        raise NotImplementedError

    def is_here(self):
        program = self.program()
        return program is not None and program.exists()

    def version(self):
        done = subprocess.run(
            [self.program(), self.version_option],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        return found[0] if found else "?"

    def command(self, folder, upstream, ports, tls):
        raise NotImplementedError


class Direct(Peer):
    """No proxy at all: what the upstream and the load generator take by themselves."""

    name = "direct"
    has_tls = has_http2 = False

    def is_here(self):
        return True

    def version(self):
        return ""


class Nginx(Peer):
    name = "nginx"

    def program(self):
        return pathlib.Path("/usr/sbin/nginx")

    def command(self, folder, upstream, ports, tls):
        temporary = "".join(
            f"  {kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/nginx.errors crit;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  server_tokens off;
{temporary}  client_max_body_size 64m;
  client_body_buffer_size 2m;
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  upstream backend {{
    server 127.0.0.1:{upstream};
    keepalive 1024;
    keepalive_requests 100000000;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  proxy_buffer_size 32k;
  proxy_buffers 8 32k;
  proxy_busy_buffers_size 64k;
  proxy_read_timeout 300s;
  ssl_certificate {tls["certificate"]};
  ssl_certificate_key {tls["key"]};
  ssl_protocols TLSv1.3;
  server {{
    listen 127.0.0.1:{ports["http"]} backlog=4096;
    location / {{ proxy_pass http://backend; }}
  }}
  server {{
    listen 127.0.0.1:{ports["tls"]} ssl backlog=4096;
    location / {{ proxy_pass http://backend; }}
  }}
  server {{
    listen 127.0.0.1:{ports["http2"]} http2 backlog=4096;
    location / {{ proxy_pass http://backend; }}
  }}
}}
""")
        return [self.program(), "-e", folder / "nginx.errors", "-c", folder / "nginx.conf"]


class HAProxy(Peer):
    name = "HAProxy"

    def program(self):
        return pathlib.Path("/usr/sbin/haproxy")

    def command(self, folder, upstream, ports, tls):
        both = folder / "both.pem"
        both.write_text(
            pathlib.Path(tls["certificate"]).read_text() + pathlib.Path(tls["key"]).read_text()
        )
        (folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 12000
  no strict-limits
  tune.bufsize 32768
defaults
  mode http
  maxconn 12000
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend clients
  bind 127.0.0.1:{ports["http"]} backlog 4096
  bind 127.0.0.1:{ports["tls"]} backlog 4096 ssl crt {both} alpn http/1.1 ssl-min-ver TLSv1.3
  bind 127.0.0.1:{ports["http2"]} backlog 4096 proto h2
  default_backend upstream
backend upstream
  server one 127.0.0.1:{upstream} pool-max-conn 2048 maxconn 8000
""")
        return [self.program(), "-db", "-f", folder / "haproxy.cfg"]


class Envoy(Peer):
    name = "Envoy"
    version_option = "--version"

    def program(self):
        return next((path for path in INSTALLED.glob("envoy/lib/**/envoy") if path.is_file()), None)

    def command(self, folder, upstream, ports, tls):
        context = f"""
        transport_socket:
          name: tls
          typed_config:
            "@type": {ENVOY}transport_sockets.tls.v3.DownstreamTlsContext
            common_tls_context:
              tls_certificates:
              - certificate_chain: {{filename: {tls["certificate"]}}}
                private_key: {{filename: {tls["key"]}}}"""
        listeners = "".join(
            f"""
  - name: {kind}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {ports[kind]}}}}}
    filter_chains:
      - filters:
        - name: http
          typed_config:
            "@type": {ENVOY}filters.network.http_connection_manager.v3.HttpConnectionManager
            codec_type: AUTO
            stat_prefix: {kind}
            stream_idle_timeout: 300s
            route_config:
              virtual_hosts:
              - name: all
                domains: ["*"]
                routes:
                - match: {{prefix: "/"}}
                  route: {{cluster: upstream, timeout: 300s}}
            http_filters:
            - name: router
              typed_config:
                "@type": {ENVOY}filters.http.router.v3.Router{context if kind == "tls" else ""}"""
            for kind in ("http", "tls", "http2")
        )
        (folder / "envoy.yaml").write_text(f"""
static_resources:
  listeners:{listeners}
  clusters:
  - name: upstream
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}}
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}
""")
        return [
            self.program(),
            "-c",
            folder / "envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ]


class LiteLLM(Peer):
    name = "LiteLLM"
    headers = (KEY,)
    is_slow = translates = True
    has_tls = has_http2 = False
    version_option = "--version"
    # Without these it asks the network for prices, and offers pages that are not compared.
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }

    def program(self):
        return INSTALLED / "litellm/bin/litellm"

    def version(self):
        python = INSTALLED / "litellm/bin/python"
        code = "import importlib.metadata as m; print(m.version('litellm'))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() or "?"

    def command(self, folder, upstream, ports, tls):
        (folder / "litellm.yaml").write_text(f"""
model_list:
  - model_name: chat
    litellm_params:
      model: openai/chat
      api_base: "http://127.0.0.1:{upstream}/v1"
      api_key: none
  - model_name: claude
    litellm_params:
      model: bedrock/converse/{CLAUDE}
      aws_bedrock_runtime_endpoint: "http://127.0.0.1:{upstream}"
      aws_region_name: us-east-1
      aws_access_key_id: AKIABENCHMARK0000000
      aws_secret_access_key: a-secret-for-benchmarks
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
""")
        return [
            self.program(),
            "--config",
            folder / "litellm.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            ports["http"],
            "--num_workers",
            "1",
            "--telemetry",
            "False",
        ]


class Sluice(Peer):
    """With everything on: keys, limits, prices, journal, ledger, access log, metrics."""

    name = "Sluice"
    headers = (KEY,)
    translates = True
    version_option = "--version"

    def __init__(self, **options):
        self.options = options

    def program(self):
        return SLUICE

    def command(self, folder, upstream, ports, tls):
        config = sluice_config(
            folder,
            upstream,
            ports["http"],
            ports["admin"],
            tls={**tls, "port": ports["tls"]},
            **self.options,
        )
        ports["http2"] = ports["http"]
        return [self.program(), "serve", "--config", config]


ALL = [Direct(), Nginx(), HAProxy(), Envoy(), LiteLLM(), Sluice()]


class Running:
    """A peer that has been started and has answered once, `start_milliseconds` later."""

    def __init__(self, peer, folder, mock, tls, body, cores):
        self.peer, self.child, self.start_milliseconds = peer, None, None
        self.ports = {kind: free_port() for kind in ("http", "tls", "http2", "admin")}
        if isinstance(peer, Direct):
            self.ports["http"] = mock.port
            return
        folder.mkdir(parents=True)
        command = peer.command(folder, mock.port, self.ports, tls)
        began = time.monotonic()
        self.child = Child(command, folder / "log", cores, peer.environment, folder)
        self.child.wait_for(lambda: self.answers(body), 120, pause=0.001)
        self.start_milliseconds = (time.monotonic() - began) * 1000

    def answers(self, body):
        if not is_listening(self.ports["http"]):
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        try:
            headers = {
                "content-type": "application/json",
                **dict(header.split(": ", 1) for header in self.peer.headers),
            }
            connection.request("POST", "/v1/chat/completions", body, headers)
            return connection.getresponse().status == 200
        except http.client.HTTPException:
            return False
        finally:
            connection.close()

    def stop(self):
        if self.child:
            self.child.stop()
