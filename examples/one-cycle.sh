#!/usr/bin/env bash
# One cycle by hand: every command that owner, miner and validator run, one after another, in one shell, on an embedded chain.
#
#   examples/one-cycle.sh [DIRECTORY]      CONNITO=... names another connito than the one in PATH
#
# Everybody shares a directory instead of serving over HTTP; only the validator gets the one with the held-out text. Each command
# waits for its window (--wait), and `set -e` stops at the first that does not exit with 0. Windows are long, so that a busy machine
# misses none; when the work of a phase is done, the chain is told to make the rest of its blocks at once.
set -euo pipefail

connito=${CONNITO:-connito}
work=${1:-$(mktemp -d)}
text=${TEXT:?TEXT names a UTF-8 text of 200 kB or more to train on}
mkdir -p "$work"

export CONNITO_NETUID=1 CONNITO_NO_INPUT=1 CONNITO_THREADS=${CONNITO_THREADS:-1}
export BT_WALLET_PATH=$work/wallets BT_WALLET_NAME=example
export CONNITO_PUBLISH=file:$work/exchange

as() { # as NAME COMMAND...: runs connito with that participant's hotkey and state directory
  local name=$1
  shift
  BT_WALLET_HOTKEY=$name CONNITO_STATE_DIR=$work/state/$name $connito "$@"
}

next_phase() {
  local left
  left=$(as owner cycle status --json | node -p 'JSON.parse(require("fs").readFileSync(0)).blocksLeft - 1')
  [ "$left" -lt 1 ] || $connito localnet fault burst --blocks "$left"
}

# The text, cut in two: nine tenths to train on, one tenth that only validators get.
bytes=$(wc -c <"$text")
head -c $((bytes * 9 / 10)) "$text" | iconv -c -t utf-8 >"$work/train.txt"
tail -c +$((bytes * 9 / 10 + 1)) "$text" | iconv -c -t utf-8 >"$work/held-out.txt"

for name in owner validator miner; do as $name wallet new >/dev/null; done
owner=$(as owner wallet show --json | node -p 'JSON.parse(require("fs").readFileSync(0)).address')

# The chain, in the background until this script ends.
# Not through `as`: the process must be the shell's own child, or ending the script would leave it running.
CONNITO_STATE_DIR=$work/state/chain $connito localnet --port 0 --faults --block-time "${BLOCK_TIME:-500ms}" --owner "$owner" --ready-file "$work/ready" &
chain=$!
trap 'kill "$chain" 2>/dev/null && wait "$chain" || true' EXIT
until [ -s "$work/ready" ]; do
  kill -0 "$chain" # Ends the script if the chain did not start.
  sleep 0.1
done
CONNITO_NETWORK=$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).endpoint' "$work/ready")
export CONNITO_NETWORK

as miner localnet register
as validator localnet register --stake 100

# Owner: a base model and a task.
as owner model init "$work/base" --hidden-size 64 --layers 2 --experts 4 --intermediate-size 64
as owner model pretrain "$work/base" --text "$work/train.txt" --steps "${PRETRAIN_STEPS:-100}" --sequence-length 64
as owner esft select --model "$work/base" --text "$work/train.txt" --groups 2 --threshold 0.9 --sample-tokens 4096 --sequence-length 64 --save "$work/scores.json"
as owner task create --name example --model "$work/base" --groups 2 --domain "text=$work/train.txt,$work/held-out.txt" \
  --scores "$work/scores.json" --publish-held-out "$work/held-out" --lead 4 --from - <<'TASK'
{
  "data": { "sequenceLength": 64 },
  "experts": { "selection": { "threshold": 0.9 } },
  "inner": { "learningRate": 0.001 },
  "cycle": { "phases": { "distribute": 100, "train": 100, "commit": 100, "reveal": 100, "score": 100, "merge": 30 } },
  "evaluation": { "sequencesPerDomain": 16 }
}
TASK

# Everything below is of cycle 0.

# Distribute: the validator brings the whole model here, the miner its slice.
as validator slice --whole --cycle 0 --wait
as miner assign --cycle 0 --wait
as miner slice --cycle 0 --wait

# Train, commit, reveal. Without --max-steps it would train as long as the window is.
next_phase
as miner train --cycle 0 --wait --max-steps "${TRAIN_STEPS:-200}"
next_phase
as miner commit --cycle 0 --wait
next_phase
as miner reveal --cycle 0 --wait

# Evaluate: score by Proof-of-Loss, and merge. The new version's root is shown in the last blocks of the phase.
next_phase
CONNITO_PEER=file:$work/held-out as validator score --cycle 0 --wait
next_phase
CONNITO_PEER=file:$work/held-out as validator merge --cycle 0 --wait --json | tee "$work/merge.json"

as miner cycle status
as miner status
