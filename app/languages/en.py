from app.languages.language import Language

_STOP_WORDS = """
a about above after again against all also am an and any are aren't as at be because been before being
below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down
during each either else ever every few for from further get gets give given had hadn't has hasn't have
haven't having he her here hers herself him himself his how however i i'd i'll i'm i've if in into is
isn't it it's its itself just kindly let let's like may me might mine more most much must my myself no
nor not of off on once one only or other others ought our ours ourselves out over own per please same
shall she should shouldn't so some such tell than that that's the their theirs them themselves then there
there's these they they're this those through to too under until up upon us very was wasn't we we're were
weren't what what's when where whether which while who who's whom whose why will with within without
won't would wouldn't yes yet you you're your yours yourself yourselves
"""

ENGLISH = Language(
    code="en",
    name="English",
    text_search="english",
    welcome=(
        "Hello! Ask me anything about your documents, and I will answer from them and show you where it is written."
    ),
    no_answer="I could not find an answer to this in your documents.",
    declined="I cannot answer this question.",
    plain_no_model=(
        "No language model is set up here, so I can only answer from your documents. "
        "Turn on document search and ask again."
    ),
    stop_words=frozenset(_STOP_WORDS.split()),
)
