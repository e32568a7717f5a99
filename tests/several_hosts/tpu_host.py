"""A host of a Cloud TPU that is told of its slice as such hosts are; its devices are CPUs.

Arguments: its number, the port of the first host, and whether in GKE.
"""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


def main(index: str, port: str, in_gke: bool) -> None:
    attributes = {
        "agent-worker-number": index,
        "worker-network-endpoints": "unknown:0:127.0.0.1,unknown:1:127.0.0.1",
        "tpu-env": "ZONE: 'somewhere'",
    }

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self):
            attribute = "" if in_gke else attributes.get(self.path.rsplit("/", 1)[-1], "")
            self.send_response(200 if attribute else 404)
            self.end_headers()
            self.wfile.write(attribute.encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "GCE_METADATA_IP": f"127.0.0.1:{server.server_port}",
        "JAX_COORDINATOR_PORT": port,
        "JAX_FORCE_TPU_INIT": "1",  # JAX takes this machine for one with TPUs.
    }
    if in_gke:
        os.environ |= {"TPU_WORKER_HOSTNAMES": "127.0.0.1,127.0.0.1", "TPU_WORKER_ID": index}

    import jax

    jax.config.update("jax_platforms", "cpu")
    os.environ.pop("TPU_SKIP_MDS_QUERY", None)  # Set by JAX where there is no TPU after all.
    from mlp_core.distributed import agreement, cluster, hosts

    cluster._has_tpus = lambda environment: True
    hosts.start(cluster.find_cluster(os.environ), limit=120)
    agreement.wait_for_all("start")
    print(f"host {jax.process_index()} of {jax.process_count()}, {jax.device_count()} devices")
    agreement.end_together()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "gke")
