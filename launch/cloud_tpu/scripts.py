"""What runs on the workers of a TPU, in bash; values come as $1, $2, ..., never as code.

Training and the bucket are services of systemd: they outlive the connection, and when the VM is
shut down (preempted, say) training gets its SIGTERM first and still finds the bucket to save in.
"""

FOLDER = "all-mlp"  # In the home directory of the user.
SERVICE = "all-mlp"
MOUNT = "/mnt/bucket"
ARCHIVE = f"{FOLDER}.tar.gz"

_STATE = f"""
state() {{
    show() {{ systemctl show {SERVICE} --property="$1" --value; }}
    case "$(show ActiveState)/$(show SubState)" in
    active/exited | failed/*)
        if [ "$(show ExecMainCode)" = 1 ]; then echo "exit $(show ExecMainStatus)"
        else echo "signal $(show ExecMainStatus)"; fi ;;
    inactive/*) echo none ;;
    *) echo running ;;
    esac
}}
"""

# Prints how training stands on this worker: running, "exit STATUS", "signal NUMBER" or none.
STATE = _STATE + 'echo "worker: $(state)"'

# $1: bucket, $2: folder of the run in it. Ubuntu's own Python may be too old for this project.
INSTALL = (
    _STATE
    + f"""
if [ "$(state)" = running ]; then echo "error: a run is going on here" >&2; exit 1; fi
cd "$HOME"
mkdir -p {FOLDER}
tar -xzf {ARCHIVE} -C {FOLDER}

key=/usr/share/keyrings/cloud.google.asc
packages=https://packages.cloud.google.com/apt
curl --proto =https --retry 5 -fsS "$packages/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
echo "deb [signed-by=$key] $packages gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
sudo apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 update
sudo apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 install -y gcsfuse python3-venv

sudo systemctl stop {SERVICE}-bucket 2>/dev/null || true
sudo systemctl reset-failed {SERVICE}-bucket 2>/dev/null || true
if mountpoint -q {MOUNT}; then sudo umount {MOUNT}; fi
sudo mkdir -p {MOUNT}
sudo chown "$(id -u):$(id -g)" {MOUNT}
# Nothing is remembered of the bucket: other workers write to it, too.
sudo systemd-run --quiet --unit={SERVICE}-bucket --uid="$(id -u)" --gid="$(id -g)" \\
    /usr/bin/gcsfuse --foreground --metadata-cache-ttl-secs=0 \\
    --metadata-cache-negative-ttl-secs=0 "$1" {MOUNT}
for _ in $(seq 60); do if mountpoint -q {MOUNT}; then break; fi; sleep 1; done
if ! mountpoint -q {MOUNT} || ! mkdir -p "{MOUNT}/$2" ||
    ! probe=$(mktemp -p "{MOUNT}/$2") || ! rm "$probe"; then
    echo "error: gs://$1 cannot be mounted and written on the TPU; give its service account" \\
        "the role Storage Object User on the bucket" >&2
    exit 1
fi

[ -x .uv/bin/uv ] || {{ python3 -m venv .uv && .uv/bin/pip install -q "uv>=0.8"; }}
cd {FOLDER}
[ -x .venv/bin/python ] || "$HOME/.uv/bin/uv" venv -q --python 3.12 .venv
"$HOME/.uv/bin/uv" pip install -q --python .venv/bin/python -e ".[tpu]"
"""
)

# $@: the arguments of launch/main.py. They go through a file, since systemd has its own quoting.
# TPUs that are driven by VFIO lock much memory, of which a service may have little by default.
START = (
    _STATE
    + f"""
if [ "$(state)" = running ]; then exit 0; fi
cd "$HOME/{FOLDER}"
{{
    printf 'cd %q && exec >>run.log 2>&1 || exit\\n' "$PWD"
    # Without the bucket, its folder is one of the machine, and lost with it.
    printf 'mountpoint -q {MOUNT} ||\\n'
    printf '    {{ echo "error: the bucket is not mounted; install again"; exit 2; }}\\n'
    printf 'exec .venv/bin/python -u launch/main.py'
    printf ' %q' "$@"
    printf '\\n'
}} >run.sh
sudo systemctl stop {SERVICE} 2>/dev/null || true
sudo systemctl reset-failed {SERVICE} 2>/dev/null || true
sudo systemd-run --quiet --unit={SERVICE} --uid="$(id -u)" --gid="$(id -g)" \\
    --setenv=HOME="$HOME" --property=RemainAfterExit=yes --property=TimeoutStopSec=120 \\
    --property=LimitMEMLOCK=infinity --property=LimitNOFILE=524288 \\
    --property=After={SERVICE}-bucket.service /bin/bash "$PWD/run.sh"
"""
)

# $1: the first byte wanted. Ends when training has ended.
FOLLOW = f"""
cd "$HOME/{FOLDER}"
touch run.log
pid=$(systemctl show {SERVICE} --property=MainPID --value)
if [ "$pid" -gt 0 ]; then exec tail -c "+$1" --pid="$pid" -f run.log; fi
exec tail -c "+$1" run.log
"""
