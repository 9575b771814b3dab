"""A server of S3's API on this machine: python tests/s3_server.py prints its address, and serves (by moto)."""

import logging
import signal

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "bucket"


def main() -> None:
    """Serves until the process is ended."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket=BUCKET)
    print(address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
