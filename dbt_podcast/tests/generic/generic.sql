{#- Each test selects the rows that contradict it. -#}

{% test unique_combination(model, columns) %}
select {{ columns | join(", ") }}
from {{ model }}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}

{% test at_least(model, column_name, minimum) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < {{ minimum }}
{% endtest %}

{% test not_blank(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ trim_unicode(column_name) }} = ''
{% endtest %}

{% test same_row_count(model, other) %}
select *
from (select count(*) as row_count from {{ model }}) as here
cross join (select count(*) as row_count from {{ other }}) as there
where here.row_count <> there.row_count
{% endtest %}

{% test same_row_count_by_batch(model) %}
select
    accepted_batches.batch_id,
    accepted_batches.row_count,
    counted.row_count as validated_row_count
from {{ ref("accepted_batches") }} as accepted_batches
full outer join (select batch_id, count(*) as row_count from {{ model }} group by batch_id) as counted
    on accepted_batches.batch_id = counted.batch_id
where coalesce(accepted_batches.row_count, 0) <> coalesce(counted.row_count, 0)
{% endtest %}

{% test every_valid_row_has_its_event(model) %}
select validated_events.batch_id, validated_events.line_number
from {{ ref("validated_events") }} as validated_events
left join {{ model }} as events
    on validated_events.key_hash = events.key_hash
where validated_events.is_valid
    and events.key_hash is null
{% endtest %}

{% test duration_where_expected(model) %}
select interaction_id
from {{ model }}
where (event_type in ('play', 'complete')) <> (duration is not null)
{% endtest %}

{% test profile_adds_up(model) %}
select batch_id
from {{ model }}
where lines <> invalid + valid
    or malformed > invalid
    or malformed <> malformed_json
{% endtest %}

{% test quality_adds_up(model) %}
select load_date
from {{ model }}
where received <> malformed + invalid + duplicates + facts + held_back
    or batches <> published_batches + quarantined_batches + released_batches + discarded_batches + superseded_batches + empty_batches
    or malformed <> malformed_json
{% endtest %}
