"""What programs take for a when no scheme stands before it."""

_COUNTRIES = """
ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd cf
cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg
gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp
kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne
nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk
sl sm sn so sr st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu
wf ws ye yt za zm zw
"""
_OTHERS = """
com net org edu gov mil int biz info name pro aero asia cat coop jobs mobi museum tel travel web xxx arpa onion
academy agency bank bar beauty bet bid blog buzz cafe casa cash casino center chat click cloud club codes company
community deals delivery dev digital email expert express fans finance fund fyi games gallery gift guru health hosting
icu institute kim legal limited link live llc loan loans lol london love ltd market marketing media men moe monster
movie network news ninja nyc one online partners party photo photos pics pizza plus poker porn press pub quest racing
realty rehab ren rent rip rocks sale sbs services sex shop shopping site skin social software solutions space store
stream studio surf systems tax team tech technology tires today tokyo top trade vip website wiki win world wtf xin xyz
yachts yoga zone app рф укр бел рус онлайн сайт 中国 中國 公司 网络 网址 在线 भारत భారత్ ಭಾರತ இந்தியா ভারত
"""
_ATTRIBUTES = "info name pro web app dev link site"
_FILES = "cc md mk pl pm ps py rs sh so st"
_EAGER_SCHEMES = "javascript livescript vbscript mailto xmpp"
_DEAD_SCHEMES = "hxxp hxxps fxp"

COUNTRIES = frozenset(_COUNTRIES.split())
TOP_LEVEL = COUNTRIES | frozenset(_OTHERS.split())
ATTRIBUTES = COUNTRIES | frozenset(_ATTRIBUTES.split())
"""`user.name` and `row.id` in code."""
FILES = frozenset(_FILES.split())
"""Extensions of files that are countries, too."""
EAGER_SCHEMES = frozenset(_EAGER_SCHEMES.split())
"""Live without `//`."""
DEAD_SCHEMES = frozenset(_DEAD_SCHEMES.split())
