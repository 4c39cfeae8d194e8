r"""N-gram models <-> ARPA files, the plain text format that SRILM, KenLM and IRSTLM exchange.

::

    \data\                                how many n-grams of each order follow
    ngram 1=4
    ngram 2=2

    \1-grams:
    -0.6989700 <unk> 0                    log10 p(last word | the words before it), the words, log10 backoff weight
    -99        <s>   -0.3010300           history only: it never follows anything
    -0.3979400 </s>                       a backoff weight that is missing is 1
    -0.3979400 the   -0.1760913

    \2-grams:
    -0.1760913 <s> the
    -0.2218487 the </s>

    \end\

Here ``<s>`` and ``</s>`` are one boundary: its probability is that of ``</s>``, its backoff weight that of ``<s>``.
A log10 of -99 means zero in these files, and is kept as the probability 1e-99 that KenLM takes it for. A file without
``<unk>`` is closed: ``<unk>`` is given 1e-100, as KenLM does, so that a sentence with an unknown word has a score.
"""

START = "<s>"
"""The boundary as history."""
CLOSED = -100.0
"""log10 probability of ``<unk>`` where there is none."""
KENLM_BINARY = b"mmap lm http://kheafield.com/code"
"""What a binary file of KenLM opens with."""
