// Sound by content: WAV files of tones, and how loud a frequency is in what was recorded.
import { readFile, writeFile } from "node:fs/promises";

export const rate = 48000;

// writeTone makes a mono WAV of a sine, that begins and ends softly four times a second so that no noise reduction
// takes it for noise.
export async function writeTone(file, hz, seconds) {
  const n = rate * seconds;
  const wav = Buffer.alloc(44 + 2 * n);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * n, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // mono
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(2 * rate, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(2 * n, 40);
  for (let i = 0; i < n; i++) {
    const swell = 0.5 - 0.5 * Math.cos((2 * Math.PI * 4 * i) / rate);
    wav.writeInt16LE(Math.round(12000 * swell * Math.sin((2 * Math.PI * hz * i) / rate)), 44 + 2 * i);
  }
  await writeFile(file, wav);
}

// readWAV gives the samples of a mono 16-bit WAV at our rate, from -1 to 1.
export async function readWAV(file) {
  const b = await readFile(file);
  if (b.toString("latin1", 0, 4) !== "RIFF" || b.readUInt16LE(22) !== 1 || b.readUInt32LE(24) !== rate || b.readUInt16LE(34) !== 16) {
    throw new Error(`${file}: not a mono 16-bit WAV at ${rate} Hz`);
  }
  let at = 12;
  while (b.toString("latin1", at, at + 4) !== "data") at += 8 + b.readUInt32LE(at + 4);
  const pcm = new Float32Array(Math.floor(Math.min(b.readUInt32LE(at + 4), b.length - at - 8) / 2));
  for (let i = 0; i < pcm.length; i++) pcm[i] = b.readInt16LE(at + 8 + 2 * i) / 32768;
  return pcm;
}

// level is how loud a frequency is, in dB of full scale, in the part of pcm between two times in seconds: its strongest
// quarter of a second (by Goertzel's algorithm under a Hann window).
export function level(pcm, hz, from = 0, to = pcm.length / rate) {
  const size = rate / 4;
  let best = -Infinity;
  for (let at = Math.round(from * rate); at + size <= Math.min(to * rate, pcm.length); at += size / 2) {
    const w = (2 * Math.PI * hz) / rate;
    let s1 = 0, s2 = 0;
    for (let i = 0; i < size; i++) {
      const s = pcm[at + i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size)) + 2 * Math.cos(w) * s1 - s2;
      s2 = s1;
      s1 = s;
    }
    const power = s1 * s1 + s2 * s2 - 2 * Math.cos(w) * s1 * s2;
    best = Math.max(best, 10 * Math.log10(power / (size / 4) ** 2 + 1e-12));
  }
  return best;
}
