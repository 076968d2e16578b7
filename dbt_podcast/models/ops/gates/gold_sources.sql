-- grain: one source, as the gold gate judges it
{{ config(tags=["gold"]) }}

{# Usual silences after which a source has ended, rather than gone quiet, and is no longer reported. #}
{% set ended_after = 100 %}

select
    cast(null as {{ text_type() }}) as batch_id,

    source,

    usual_gap_hours,
    silence_hours,
    case when silence_ratio <= {{ ended_after }} then silence_ratio end as silence_ratio
from {{ ref("sources") }}
