// The page's words. English stands where it is used and is the key of every translation.

export const t = (words) => words;
