"""A stand-in for language model servers, to see how a client takes their failures.

It speaks the wire formats of Amazon Bedrock (`converse`, `converse-stream`) and of OpenAI (`/v1/chat/completions`,
`/v1/models`). What it does is told on the command line, and by the model's id in each request:

    python -m tools.stand_in --port 9009 --mode tokens --rate 200 --count 2000
    model id `stand-in.cut:after=3`

`python -m tools.stand_in --help` lists the modes. No model runs here: it says what it is told to say.
"""
