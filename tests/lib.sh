# shellcheck shell=bash disable=SC2034 # what is set here, the scripts that source this read
# Sourced by the test scripts: where fetched things live, and one function for each thing to fetch.
# Everything comes by name from the usual package sources and is kept outside the tree.

here_tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${RINGLOG_TESTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ringlog-tests}
mkdir -p "$CACHE"

# need_apt PROGRAM PACKAGE: installs PACKAGE where PROGRAM is missing.
need_apt() {
  command -v "$1" >/dev/null && return 0
  apt-get install -y -q "$2" >"$CACHE/apt-$2.log" 2>&1 ||
    { apt-get update -q && apt-get install -y -q "$2"; } >>"$CACHE/apt-$2.log" 2>&1 ||
    { echo "cannot install $2: see $CACHE/apt-$2.log" >&2; return 1; }
}

# need_unpacked PROGRAM PACKAGE: as need_apt, for a program whose package would start a server: unpacked, not installed.
need_unpacked() {
  command -v "$1" >/dev/null && return 0
  local dir="$CACHE/unpacked-$2"
  if [ ! -x "$dir/usr/bin/$1" ]; then
    rm -rf "$dir" && mkdir -p "$dir"
    (cd "$dir" && { apt-get download -q "$2" || { apt-get update -q && apt-get download -q "$2"; }; } && dpkg-deb -x "$2"_*.deb . && rm "$2"_*.deb) \
      >"$CACHE/apt-$2.log" 2>&1 || { echo "cannot unpack $2: see $CACHE/apt-$2.log" >&2; return 1; }
  fi
  export PATH="$dir/usr/bin:$PATH"
}

# Prints the python of a virtual environment that holds the Python clients.
python_clients() {
  local wanted="$here_tests/clients/python/requirements.txt" venv="$CACHE/venv"
  if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r "$wanted"; } >"$CACHE/pip.log" 2>&1 ||
      { echo "cannot install the Python clients: see $CACHE/pip.log" >&2; return 1; }
    cp "$wanted" "$venv/requirements.txt"
  fi
  echo "$venv/bin/python"
}

# Prints a folder whose node_modules holds kafkajs.
node_clients() {
  local wanted="$here_tests/clients/js/package.json" dir="$CACHE/npm"
  if ! cmp -s "$wanted" "$dir/package.json" || [ ! -d "$dir/node_modules/kafkajs" ]; then
    mkdir -p "$dir" && cp "$wanted" "$dir/package.json"
    (cd "$dir" && npm install --no-fund --no-audit --no-package-lock) >"$CACHE/npm.log" 2>&1 ||
      { rm -f "$dir/package.json"; echo "cannot install kafkajs: see $CACHE/npm.log" >&2; return 1; }
  fi
  echo "$dir/node_modules"
}

# maven_classpath NAME POM [ARG...]: prints the class path of what POM names, kept as NAME in the cache; ARGs go to Maven.
maven_classpath() {
  local name=$1 pom=$2 dir="$CACHE/$1" stamp
  shift 2
  stamp=$(cat "$pom" && echo "$@")
  mkdir -p "$dir"
  if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || [ ! -s "$dir/classpath" ]; then
    cp "$pom" "$dir/pom.xml"
    (cd "$dir" && mvn -q -B -Dstyle.color=never dependency:build-classpath -Dmdep.outputFile=classpath "$@") >"$CACHE/mvn-$name.log" 2>&1 ||
      { rm -f "$dir/stamp"; echo "cannot fetch what $pom names: see $CACHE/mvn-$name.log" >&2; return 1; }
    echo "$stamp" >"$dir/stamp"
  fi
  cat "$dir/classpath"
}

# Prints the class path of Apache Kafka's published artifacts (broker, tools, clients).
java_classpath() { maven_classpath java "$here_tests/clients/java/pom.xml"; }

# java_build NAME FILE...: compiles against java_classpath; prints the class path to run with.
java_build() {
  local cp
  cp=$(java_classpath) && java_build_with "$cp" "$@"
}

# java_build_with CLASSPATH NAME FILE...: compiles into the cache when a source changed; prints the class path to run with.
java_build_with() {
  local cp=$1 name=$2 out="$CACHE/classes-$2" stamp
  shift 2
  stamp=$( (echo "$cp" && cat "$@") | sha256sum)
  if [ "$(cat "$out/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$out" && mkdir -p "$out"
    javac -nowarn -Xlint:none -proc:none -d "$out" -cp "$cp" "$@" >&2 || return 1
    echo "$stamp" >"$out/stamp"
  fi
  echo "$out:$cp"
}

# java_run CLASSPATH ARG...: a quiet JVM that starts quickly.
java_run() {
  local cp=$1
  shift
  java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel="${JAVA_LOG:-off}" -cp "$cp" "$@"
}

# What makes tests of groups and transactions quick and is the same for any broker: no wait for more members, sessions as short
# as the suites ask for, heartbeats and time-outs looked at more often, fewer partitions of the internal topics. Records that
# suites date years back must outlive them: retention comes round after an hour.
QUICK_CONFIG="group.initial.rebalance.delay.ms=0 group.min.session.timeout.ms=1000
  group.consumer.min.session.timeout.ms=1000 group.consumer.min.heartbeat.interval.ms=500 group.consumer.heartbeat.interval.ms=500
  transaction.abort.timed.out.transaction.cleanup.interval.ms=500
  offsets.topic.num.partitions=16 transaction.state.log.num.partitions=16 log.initial.task.delay.ms=3600000"

# What both brokers of the comparison are told. The records of the cases are years old: retention must not come round while
# they are looked at.
COMPARE_CONFIG="num.partitions=4 group.min.session.timeout.ms=1000 group.initial.rebalance.delay.ms=0
  offsets.topic.num.partitions=8 transaction.state.log.num.partitions=8 log.initial.task.delay.ms=3600000"

# free_port: a TCP port of the loopback address that nothing listens on now.
free_port() {
  python3 - <<'PY'
import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])
PY
}

# wait_port PORT SECONDS: until something accepts there.
wait_port() {
  local tries=$(($2 * 20))
  for ((i = 0; i < tries; i++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    sleep 0.05
  done
  return 1
}

# kafka_start DIR PORT [CONFIG-LINE...]: one Apache Kafka node with its log in DIR; its pid is in DIR/pid.
kafka_start() {
  kafka_format "$@" || return 1
  (kafka_exec "$1") >>"$1/log" 2>&1 &
  echo $! >"$1/pid"
  wait_port "$2" 60 || { tail -5 "$1/log" >&2; return 1; }
}

# kafka_format DIR PORT [CONFIG-LINE...]: writes the configuration and the directories of one Apache Kafka node.
kafka_format() {
  local dir=$1 port=$2 controller cp voter
  shift 2
  cp=$(java_classpath) || return 1
  rm -rf "$dir" && mkdir -p "$dir"
  controller=$(free_port)
  voter=$(java_run "$cp" kafka.tools.StorageTool random-uuid 2>/dev/null)
  {
    echo "process.roles=broker,controller"
    echo "node.id=1"
    echo "controller.quorum.bootstrap.servers=127.0.0.1:$controller"
    echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller"
    echo "advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller"
    echo "controller.listener.names=CONTROLLER"
    echo "inter.broker.listener.name=PLAINTEXT"
    echo "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
    echo "log.dirs=$dir/data"
    echo "offsets.topic.replication.factor=1"
    echo "transaction.state.log.replication.factor=1"
    echo "transaction.state.log.min.isr=1"
    printf '%s\n' "$@"
  } >"$dir/server.properties"
  java_run "$cp" kafka.tools.StorageTool format -t "$(java_run "$cp" kafka.tools.StorageTool random-uuid)" \
    -c "$dir/server.properties" --initial-controllers "1@127.0.0.1:$controller:$voter" >"$dir/log" 2>&1 ||
    { tail -3 "$dir/log" >&2; return 1; }
}

# kafka_exec DIR: becomes the node that kafka_format prepared. As it is run in earnest: both compilers, G1, one GiB. Options
# of its JVM's come in KAFKA_OPTS, as for Kafka's own scripts.
kafka_exec() {
  # shellcheck disable=SC2086 # one word an option
  exec java -Xms1g -Xmx1g -XX:+UseG1GC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn ${KAFKA_OPTS:-} -cp "$(java_classpath)" kafka.Kafka "$1/server.properties"
}

# stop_pid FILE: asks the process to stop, waits ten seconds, then makes it.
stop_pid() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null
  return 0
}
