-- grain: one batch that the cleansed gate judges; how far it is from the accepted batches before it
{{ config(materialized="table", tags=["silver"]) }}

{# Batches that one is compared with, and how many it takes until a comparison says anything. #}
{% set compared_batches = 30 %}
{% set needed_batches = 10 %}

{% set kinds = ["play", "pause", "seek", "complete"] %}
{% set shares = ["play_share", "pause_share", "seek_share", "complete_share", "unplayed_share"] %}
{% set measures = ["lines"] + shares %}

with

pending_batches as (

    select * from {{ ref("pending_batches") }}
    where is_judged

),

accepted_batches as (

    select * from {{ ref("accepted_batches") }}

),

batch_profiles as (

    select * from {{ ref("batch_profiles") }}

),

-- a count that an older version did not keep is null, and so is what follows from it
accepted_profiles as (

    select
        batch_profiles.*,
        {%- for kind in kinds %}
        {{ share_of("batch_profiles." ~ kind ~ "s", "batch_profiles.valid") }} as {{ kind }}_share,
        {%- endfor %}
        {{ share_of("batch_profiles.completions_without_play", "batch_profiles.completes") }} as unplayed_share,
        row_number() over (order by accepted_batches.load_at, accepted_batches.filename) as place
    from accepted_batches
    inner join batch_profiles
        on accepted_batches.batch_id = batch_profiles.batch_id

),

judged as (

    select accepted_profiles.*
    from accepted_profiles
    inner join pending_batches
        on accepted_profiles.batch_id = pending_batches.batch_id

),

steps_back as (

    select steps.step
    from (values ({{ range(1, compared_batches + 1) | join("), (") }})) as steps (step)

),

earlier as (

    select
        {%- for measure in measures %}
        accepted_profiles.{{ measure }},
        {%- endfor %}
        judged.batch_id
    from judged
    cross join steps_back
    inner join accepted_profiles
        on judged.place - steps_back.step = accepted_profiles.place

),

usual as (

    select
        batch_id,
        {%- for measure in measures %}
        case when count({{ measure }}) >= {{ needed_batches }} then {{ median(measure) }} end as {{ measure }},
        {%- endfor %}
        count(*) as earlier_batches
    from earlier
    group by batch_id

),

-- the median distance from the median: one strange batch among the thirty does not move it
deviations as (

    select
        {%- for measure in measures %}
        {{ median("abs(earlier." ~ measure ~ " - usual." ~ measure ~ ")") }} as {{ measure }},
        {%- endfor %}
        earlier.batch_id
    from earlier
    inner join usual
        on earlier.batch_id = usual.batch_id
    group by earlier.batch_id

),

scored as (

    select
        judged.batch_id,
        judged.new_key_names,
        judged.lines,
        usual.lines as usual_lines,
        {%- for kind in kinds %}
        judged.{{ kind }}_share,
        usual.{{ kind }}_share as usual_{{ kind }}_share,
        {%- endfor %}
        coalesce(usual.earlier_batches, 0) as earlier_batches,
        case when usual.earlier_batches >= {{ needed_batches }} then judged.new_keys end as new_keys,
        judged.completions_without_play,
        judged.completes,
        judged.unplayed_share,
        usual.unplayed_share as usual_unplayed_share,
        judged.overlong_listens,
        judged.listens_of_known_length,
        {{ share_of("judged.overlong_listens", "judged.listens_of_known_length") }} as overlong_share,
        cast(judged.most_seconds_in_a_day as double) / 3600 as most_hours_in_a_day,
        {{ count_score("judged.lines", "usual.lines", "deviations.lines") }} as volume_score,
        {%- for kind in kinds %}
        {%- set share = kind ~ "_share" %}
        {{ share_score(
            "judged." ~ share, "usual." ~ share, "deviations." ~ share, "judged.valid"
        ) }} as {{ kind }}_score,
        {%- endfor %}
        {{ share_score(
            "judged.unplayed_share", "usual.unplayed_share", "deviations.unplayed_share", "judged.completes"
        ) }} as unplayed_score
    from judged
    left join usual
        on judged.batch_id = usual.batch_id
    left join deviations
        on judged.batch_id = deviations.batch_id

),

compared as (

    select
        *,
        greatest({{ kinds | join("_score, ") }}_score) as event_type_score
    from scored

)

select
    batch_id,

    case event_type_score
        {%- for kind in kinds %}
        when {{ kind }}_score then '{{ kind }}'
        {%- endfor %}
    end as most_changed_type,
    new_key_names,

    earlier_batches,
    lines,
    usual_lines,
    volume_score,
    {%- for kind in kinds %}
    {{ kind }}_score,
    {%- endfor %}
    event_type_score,
    case event_type_score
        {%- for kind in kinds %}
        when {{ kind }}_score then {{ kind }}_share
        {%- endfor %}
    end as most_changed_share,
    case event_type_score
        {%- for kind in kinds %}
        when {{ kind }}_score then usual_{{ kind }}_share
        {%- endfor %}
    end as usual_share,
    new_keys,
    completes,
    completions_without_play,
    unplayed_share,
    usual_unplayed_share,
    unplayed_score,
    listens_of_known_length,
    overlong_listens,
    overlong_share,
    most_hours_in_a_day
from compared
