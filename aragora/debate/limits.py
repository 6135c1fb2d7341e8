"""How much of everything there may be, for requests, the description of the API and the help of commands alike.

Lengths are in characters, durations in seconds.
"""

FEWEST_AGENTS, MOST_AGENTS = 2, 10
MOST_ROUNDS, ROUNDS_DEFAULT = 10, 3
SHORTEST_TIMEOUT, LONGEST_TIMEOUT, TIMEOUT_DEFAULT = 1, 1800, 600.0  # of a debate

SHORTEST_QUESTION, LONGEST_QUESTION = 5, 2000  # five characters are a whole question in Chinese
LONGEST_CONTEXT = 100_000
CONTEXT_IN_LISTS = 500  # of each debate's
MOST_NOTIFICATIONS = 3  # of one debate
MOST_SOURCES = 5  # pages and files of a debate
LONGEST_ADDRESS = 2000  # of one of them
LONGEST_CRITERIA = 2000
LONGEST_TITLE = 200
LONGEST_NAME = 64  # of an agent, and of its type
LONGEST_MODEL = 128
LONGEST_ROLE = 200
LONGEST_PERSONA = 2000
LONGEST_METADATA = 16_384  # as JSON
LONGEST_COMMENT = 2000  # a person's vote, reasoning or suggestion
LONGEST_KEY = 255  # an Idempotency-Key
LONGEST_SEARCH = 200
MOST_EVENTS = 10_000  # of one debate, after which people's votes and suggestions are refused

DEBATES_PAGE, DEBATES_PAGE_DEFAULT = 100, 20
MESSAGES_PAGE, MESSAGES_PAGE_DEFAULT = 200, 50
MOST_OFFSET = 1_000_000
EVENTS_PAGE = 500
LONGEST_WAIT = 60  # for the next event
LONGEST_WAIT_FOR_END = 300  # for a debate that was just created

MOST_MONEY = 1_000_000  # dollars of a budget
MOST_TOKENS = 1_000_000_000
MOST_QUESTIONS = 100_000
MOST_DAYS, DAYS_DEFAULT = 366, 30  # of spending that are shown
