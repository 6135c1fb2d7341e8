// What changed between two texts, word by word.

const MOST_WORDS = 4000; // of both texts; beyond that the page would stand still
const PART = /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{M}\p{N}_'’-]+|./gsu;

// Parts of both texts in order: [{kind: "same" | "gone" | "new", text}]; null where they are too long to compare.
export function changes(before, after) {
  const old = before.match(PART) || [];
  const now = after.match(PART) || [];
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < now.length - start && old[old.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  const middle = compared(old.slice(start, old.length - end), now.slice(start, now.length - end));
  if (!middle) return null;
  return joined([...old.slice(0, start).map((text) => ({ kind: "same", text })), ...middle, ...old.slice(old.length - end).map((text) => ({ kind: "same", text }))]);
}

// The longest common subsequence, by dynamic programming over lengths.
function compared(old, now) {
  if (old.length + now.length > MOST_WORDS) return null;
  const width = now.length + 1;
  const lengths = new Uint16Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1)
    for (let j = now.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] = old[i] === now[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
  const found = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      found.push({ kind: "same", text: old[i] });
      i += 1;
      j += 1;
    } else if (j >= now.length || (i < old.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      found.push({ kind: "gone", text: old[i] });
      i += 1;
    } else {
      found.push({ kind: "new", text: now[j] });
      j += 1;
    }
  }
  return found;
}

// Neighbours of one kind together; a blank between two changes of a kind belongs to them.
function joined(parts) {
  const found = [];
  for (const part of parts) {
    const last = found.at(-1);
    if (last?.kind === part.kind) last.text += part.text;
    else found.push({ ...part });
  }
  return found;
}

// The share of words that stayed, 0 to 1.
export function kept(parts) {
  const size = (kinds) => parts.filter((part) => kinds.includes(part.kind)).reduce((sum, part) => sum + part.text.trim().length, 0);
  const all = size(["same", "gone", "new"]);
  return all ? size(["same"]) / all : 1;
}
