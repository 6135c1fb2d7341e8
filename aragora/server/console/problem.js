// A refusal that is shown to a person.

import { theme } from "./theme.js";
import { translate } from "./words.js";

theme();
translate(document);
