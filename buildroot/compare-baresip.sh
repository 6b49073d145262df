#!/usr/bin/env bash
# The same call by baresip and by our device, each calling its own kind over a veth pair: Opus, mono, 32 kbit/s, the same
# complexity, DTLS-SRTP, a WAV in and a WAV out. Prints what the calling program took, all in one run.
# Usage: buildroot/compare-baresip.sh [SECONDS [COMPLEXITY]], with bin/ built; needs root, or a system that lets anybody
# make a user namespace.
#
# baresip 1.0 has no player for files: its filter sndfile writes the WAV of what was decoded (and another of what was
# said). Our call goes by the lab's gateway, which runs on the far side. CPU is user and system time of the whole program,
# from its start; memory is the most that was resident (VmHWM), which counts the said WAV too.
set -euo pipefail
seconds=${1:-60} complexity=${2:-5}
cd "$(dirname "$0")/.."
if [ -z "${COMPARE_INSIDE:-}" ]; then
  buildroot/setup.sh compare
  how=(unshare -n)
  [ "$(id -u)" = 0 ] || how=(unshare -Urn)
  COMPARE_INSIDE=1 exec "${how[@]}" "$0" "$@"
fi

near=10.7.0.1 far=10.7.0.2
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
unshare -n sleep $((3 * seconds + 120)) &
pids+=($!)
there=(nsenter --net=/proc/$!/ns/net)
until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set lo up
ip link add veth0 type veth peer name veth0 netns $!
ip addr add $near/24 dev veth0
ip link set veth0 up
"${there[@]}" ip link set lo up
"${there[@]}" ip addr add $far/24 dev veth0
"${there[@]}" ip link set veth0 up

# The speech of the tests, which is a WAV with a header of 44 bytes, again and again.
word() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24)))"; }
speech=audio/audiotest/testdata/speech.wav
size=$((96000 * (seconds + 5)))
{
  printf RIFF; word $((size + 36))
  head -c 40 $speech | tail -c 32
  word $size
  for ((have = 0; have < size; have += $(stat -c %s $speech) - 44)); do tail -c +45 $speech; done
} >"$dir/said.wav"
truncate -s $((size + 44)) "$dir/said.wav"

# measure PID: waits for the program to end, and prints the seconds of CPU and the MB of memory it had taken before, and how
# much of that at the end was its own (RssAnon); the rest is pages of files, the program's among them.
measure() {
  local ticks=0 memory="0 0" stat
  while stat=$(cat /proc/$1/stat 2>/dev/null) && [ "$(cut -d' ' -f3 <<<"$stat")" != Z ]; do
    ticks=$(awk '{print $14 + $15}' <<<"$stat")
    stat=$(awk '/^VmHWM/ {most = $2} /^RssAnon/ {print most, $2}' /proc/$1/status 2>/dev/null || true)
    memory=${stat:-$memory}
    sleep 0.2
  done
  awk -v t="$ticks" -v hz="$(getconf CLK_TCK)" '{printf "%.2f s | %.1f MB | %.1f MB", t / hz, $1 / 1024, $2 / 1024}' <<<"$memory"
}

baresip_config() { # ADDRESS MODE
  mkdir -p "$dir/$1/out"
  cat >"$dir/$1/config" <<END
poll_method epoll
sip_listen $1:5060
audio_source aufile,$dir/said.wav
ausrc_srate 48000
ausrc_channels 1
ausrc_format s16
opus_bitrate 32000
opus_stereo no
opus_sprop_stereo no
opus_complexity $complexity
opus_application voip
snd_path $dir/$1/out
module_path $(dirname "$(dpkg -L baresip-core | grep /opus.so)")
module aufile.so
module opus.so
module sndfile.so
module dtls_srtp.so
module_app account.so
module_app menu.so
END
  : >"$dir/$1/contacts"
  echo "<sip:door@$1>;regint=0;mediaenc=dtls_srtp;audio_codecs=opus/48000/1;answermode=$2" >"$dir/$1/accounts"
}
baresip_config $near manual
baresip_config $far auto
"${there[@]}" baresip -f "$dir/$far" -t $((seconds + 5)) >"$dir/far.log" 2>&1 &
pids+=($!)
sleep 1
baresip -f "$dir/$near" -e "/dial sip:door@$far" -t "$seconds" >"$dir/near.log" 2>&1 &
pids+=($!)
theirs=$(measure $!)
heard=("$dir/$near/out/"*-dec.wav)
grep -q 'DTLS-SRTP complete' "$dir/near.log" && [ "$(stat -c %s "${heard[0]}")" -gt $((96000 * (seconds - 5))) ] ||
  { cat "$dir/near.log" >&2; echo "baresip made no whole call" >&2; exit 1; }

"${there[@]}" bin/sidetone-lab up --json --dir "$dir/lab" --listen $far:0 >"$dir/lab.json" 2>"$dir/lab.log" &
pids+=($!)
until [ -s "$dir/lab.json" ]; do sleep 0.1; done
device() { grep -o "\"$1\":\"[^\"]*\"" "$dir/lab.json" | head -1 | cut -d'"' -f4; } # where its config is
export SIDETONE_AUDIO_BITRATE=32000 SIDETONE_AUDIO_COMPLEXITY=$complexity
SIDETONE_LINE_AUTO_ANSWER=true SIDETONE_AUDIO_CAPTURE=wav:$dir/said.wav SIDETONE_AUDIO_PLAYBACK=wav:$dir/far.wav \
  "${there[@]}" bin/sidetone run --config "$(device door2)" >"$dir/far.log" 2>&1 &
pids+=($!)
sleep 2
bin/sidetone call --config "$(device door1)" --in "$dir/said.wav" --out "$dir/heard.wav" --for "${seconds}s" --json door2 \
  >"$dir/near.log" 2>&1 &
pids+=($!)
ours=$(measure $!)
grep -q NORMAL_CLEARING "$dir/near.log" && [ "$(stat -c %s "$dir/heard.wav")" -gt $((96000 * (seconds - 5))) ] ||
  { cat "$dir/near.log" >&2; echo "our device made no whole call" >&2; exit 1; }

echo "| a call of $seconds s, Opus 32 kbit/s, complexity $complexity, DTLS-SRTP | CPU | resident memory, at most | of it not of files |"
echo "|---|---|---|---|"
echo "| baresip $(dpkg-query -W -f '${Version}' baresip-core), libopus $(dpkg-query -W -f '${Version}' libopus0) | $theirs |"
echo "| sidetone | $ours |"
