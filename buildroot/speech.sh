#!/usr/bin/env bash
# Makes the speech that tests, demo and concierge use, with espeak-ng and sox. Usage: buildroot/speech.sh
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# say OUT SILENCE_BEFORE SILENCE_AFTER, then pairs VOICE TEXT: 48 kHz mono 16 bit, peak at -6 dBFS.
say() {
  local out=$1 before=$2 after=$3 parts=() n=0
  shift 3
  while [ $# -gt 0 ]; do
    espeak-ng -v "$1" -s 165 -w "$work/$n.wav" "$2"
    parts+=("$work/$n.wav")
    n=$((n + 1))
    shift 2
  done
  sox -D "${parts[@]}" -r 48000 -c 1 -b 16 "$out" pad "$before" "$after" norm -6
}

mkdir -p audio/audiotest/testdata
say audio/audiotest/testdata/speech.wav 0.1 0.4 \
  en-gb "Hello. This is the front door. I have a parcel for you." \
  en-us+f3 "Thank you. Please wait a moment, I am six steps from the door."
say rtc/gateway/greeting.wav 0 0.1 \
  en-us+f3 "This is the Sidetone concierge. I repeat what you say."
