-- grain: one batch that the gold gate judges
{{ config(tags=["gold"]) }}

select
    batch_id,

    lines,
    malformed + invalid + duplicates + facts + held_back as accounted_lines,
    facts,
    duplicates
from {{ ref("line_accounting") }}
where is_judged
